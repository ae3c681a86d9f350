//! A descriptor against its schema, and a set of descriptors against each other.

use super::{Fault, PipelineDescriptor, PluginDescriptor};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which schema a file is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pipeline,
    Plugin,
    Extras,
    Migration,
}

impl Kind {
    /// The schema's text, as it is shipped.
    pub fn schema(self) -> &'static str {
        match self {
            Kind::Pipeline => include_str!("../../schemas/pipeline.schema.json"),
            Kind::Plugin => include_str!("../../schemas/plugin.schema.json"),
            Kind::Extras => include_str!("../../schemas/extras.schema.json"),
            Kind::Migration => include_str!("../../schemas/migration.schema.json"),
        }
    }
}

/// The spelling that the first manual's own example uses three times.
const MISSPELT: &str = "identrifier";

/// Reads a file's text against its schema. The misspelt key of the manual's example is taken for the right one, with
/// a warning. The value is there whenever the text is JSON at all.
pub fn read(kind: Kind, file: &str, text: &str) -> (Option<Value>, Vec<Fault>) {
    let mut value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(e) => return (None, vec![Fault::error(file, "", format!("not JSON: {e}"))]),
    };
    let mut faults = Vec::new();
    if kind == Kind::Plugin {
        respell(&mut value, file, &mut String::new(), &mut faults);
    }
    faults.extend(violations(kind, file, &value));
    (Some(value), faults)
}

fn respell(value: &mut Value, file: &str, pointer: &mut String, faults: &mut Vec<Fault>) {
    let length = pointer.len();
    match value {
        Value::Object(fields) => {
            if !fields.contains_key("identifier")
                && let Some(taken) = fields.remove(MISSPELT)
            {
                fields.insert("identifier".into(), taken);
                let at = format!("{pointer}/{MISSPELT}");
                faults.push(Fault::warning(
                    file,
                    at,
                    "taken for \"identifier\"; please mend the spelling",
                ));
            }
            for (key, inner) in fields.iter_mut() {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                respell(inner, file, pointer, faults);
                pointer.truncate(length);
            }
        }
        Value::Array(items) => {
            for (i, inner) in items.iter_mut().enumerate() {
                pointer.push_str(&format!("/{i}"));
                respell(inner, file, pointer, faults);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

fn violations(kind: Kind, file: &str, value: &Value) -> Vec<Fault> {
    let schema: Value = serde_json::from_str(kind.schema()).expect("invariant: the shipped schemas are JSON");
    let validator = jsonschema::validator_for(&schema).expect("invariant: the shipped schemas are schemas");
    validator
        .iter_errors(value)
        .map(|e| Fault::error(file, e.instance_path().to_string(), e.to_string()))
        .collect()
}

/// What is wrong between descriptors that are each in order. `files` are the names for messages.
pub fn cross(pipeline: Option<(&str, &PipelineDescriptor)>, plugins: &[(String, PluginDescriptor)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut by_id: BTreeMap<&str, &str> = BTreeMap::new();
    let mut made: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (file, plugin) in plugins {
        let id = plugin.identification.identifier.as_str();
        if let Some(first) = by_id.insert(id, file) {
            let said = format!("plugin {id} is also described by {first}");
            faults.push(Fault::error(file, "/identification/identifier", said));
        }
        let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, task) in plugin.tasks.iter().enumerate() {
            if let Some(first) = tasks.insert(&task.name, i) {
                let said = format!("task {} stands also at /tasks/{first}", task.name);
                faults.push(Fault::error(file, format!("/tasks/{i}/name"), said));
            }
            for (name, output) in &task.outputs {
                let at = format!("/tasks/{i}/outputs/{}/identifier", escaped(name));
                let key = (output.identifier.as_str(), output.release.version.as_str());
                if let Some(first) = made.insert(key, format!("{file}#{at}")) {
                    let said = format!("dataset {} version {} is also declared at {first}", key.0, key.1);
                    faults.push(Fault::error(file, at, said));
                }
            }
        }
    }
    for (file, plugin) in plugins {
        for (i, task) in plugin.tasks.iter().enumerate() {
            for (name, input) in &task.inputs {
                if made.contains_key(&(input.identifier.as_str(), input.version.as_str())) {
                    continue;
                }
                let other = made
                    .keys()
                    .find(|(id, _)| *id == input.identifier)
                    .map(|(_, version)| *version);
                let said = match other {
                    Some(version) => format!(
                        "dataset {} version {} is not declared: there is version {version}",
                        input.identifier, input.version
                    ),
                    None => format!(
                        "dataset {} version {} is declared nowhere",
                        input.identifier, input.version
                    ),
                };
                faults.push(Fault::error(
                    file,
                    format!("/tasks/{i}/inputs/{}/identifier", escaped(name)),
                    said,
                ));
            }
        }
    }
    if let Some((file, pipeline)) = pipeline {
        faults.extend(pipeline_references(file, pipeline, &by_id));
    }
    faults
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn pipeline_references(file: &str, pipeline: &PipelineDescriptor, plugins: &BTreeMap<&str, &str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, module) in pipeline.modules.iter().enumerate() {
        if !plugins.contains_key(module.as_str()) {
            let said = format!("no plugin {module} was found");
            faults.push(Fault::error(file, format!("/pipeline/modules/{i}"), said));
        }
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, database) in pipeline.databases.iter().enumerate() {
        if let Some(first) = seen.insert(&database.identifier, i) {
            let said = format!(
                "database {} stands also at /pipeline/databases/{first}",
                database.identifier
            );
            faults.push(Fault::error(file, format!("/pipeline/databases/{i}/identifier"), said));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::any_error;
    use serde_json::json;

    /// The example of the manual's section 3.2.3, keys as they stand there.
    fn manual() -> Value {
        let input = json!({"identrifier": "ROC-SGSE_LZ_MEB-SGSE-TEST-LOG", "version": "01"});
        json!({
            "identification": {"project": "ROC-SGSE", "name": "Data Requester SGSE", "identifier": "DARE-SGSE",
                "description": "Module to request and download new incoming test data from MEB GSE database"},
            "release": {"version": "0.4.0", "date": "2016-11-03", "author": "A. Author",
                "contact": "author@example.org", "institute": "LESIA",
                "modification": "Add --clear-files option to clear commands", "reference": "ROC-TST-GSE-SPC-00004-LES"},
            "tasks": [
                {"name": "extract_test", "category": "Software execution", "description": "Extract tests", "inputs": {}, "outputs": {}},
                {"name": "parse_xml", "category": "Software execution", "description": "Parse a log",
                    "inputs": {"xml_test_log": input}, "outputs": {}},
                {"name": "to_xml_file", "category": "Software execution", "description": "Make a log", "inputs": {},
                    "outputs": {"xml_test_log": {"identrifier": "ROC-SGSE_LZ_MEB-SGSE-TEST-LOG",
                        "name": "ROC-SGSE_LZ_MEB-SGSE-TEST-LOG", "description": "Test log dataset", "level": "LZ",
                        "release": {"author": "A. Author", "date": "2015-11-18", "version": "01",
                            "contact": "author@example.org", "institute": "LESIA", "modification": "Starting"}}}},
                {"name": "copy_lz", "category": "Software execution", "description": "Copy",
                    "inputs": {"xml_test_log": input}, "outputs": {}}
            ]
        })
    }

    fn judged(value: &Value) -> Vec<Fault> {
        let (read, mut faults) = read(Kind::Plugin, "d.json", &value.to_string());
        if !any_error(&faults) {
            let plugin: PluginDescriptor = serde_json::from_value(read.unwrap()).unwrap();
            faults.extend(cross(None, &[("d.json".into(), plugin)]));
        }
        faults
    }

    #[test]
    fn the_manuals_own_misspelling_is_accepted_with_a_warning_for_each() {
        let faults = judged(&manual());
        assert!(!any_error(&faults), "{faults:?}");
        let at: Vec<_> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(
            at,
            [
                "/tasks/1/inputs/xml_test_log/identrifier",
                "/tasks/2/outputs/xml_test_log/identrifier",
                "/tasks/3/inputs/xml_test_log/identrifier"
            ]
        );
    }

    #[test]
    fn all_faults_are_told_at_once_with_their_pointers() {
        let mut bad = manual();
        bad["identification"]["identifier"] = json!("dare");
        bad["tasks"][2]["outputs"]["xml_test_log"]["level"] = json!("L9");
        bad["release"].as_object_mut().unwrap().remove("date");
        let faults = judged(&bad);
        let errors: Vec<_> = faults
            .iter()
            .filter(|f| f.severity == crate::descriptor::Severity::Error)
            .map(|f| f.pointer.as_str())
            .collect();
        assert_eq!(errors.len(), 3, "{faults:?}");
        for pointer in [
            "/identification/identifier",
            "/tasks/2/outputs/xml_test_log/level",
            "/release",
        ] {
            assert!(errors.contains(&pointer), "{errors:?}");
        }
    }

    #[test]
    fn a_dataset_that_nobody_declares_in_that_version_is_a_fault() {
        let mut bad = manual();
        bad["tasks"][1]["inputs"]["xml_test_log"]["version"] = json!("02");
        let faults = judged(&bad);
        assert!(
            faults.iter().any(|f| f.message.contains("there is version 01")),
            "{faults:?}"
        );
    }

    /// Deletes, or gives another type to, every value of a valid descriptor in turn.
    #[test]
    fn every_single_wrong_type_is_found_where_it_stands() {
        fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    for (key, inner) in fields {
                        let here = format!("{at}/{key}");
                        all.push(here.clone());
                        pointers(inner, &here, all);
                    }
                }
                Value::Array(items) => {
                    for (i, inner) in items.iter().enumerate() {
                        pointers(inner, &format!("{at}/{i}"), all);
                    }
                }
                _ => {}
            }
        }
        let mut all = Vec::new();
        pointers(&manual(), "", &mut all);
        for pointer in all {
            let mut bad = manual();
            *bad.pointer_mut(&pointer).unwrap() = json!(17);
            let faults = judged(&bad);
            let wanted = pointer.replace("identrifier", "identifier");
            assert!(
                faults
                    .iter()
                    .any(|f| f.pointer == wanted && f.severity == crate::descriptor::Severity::Error),
                "{pointer}: {faults:?}"
            );
        }
    }
}
