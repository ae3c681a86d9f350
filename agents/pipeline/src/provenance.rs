//! Where a product comes from, as W3C PROV in its JSON form (PROV-JSON, W3C member submission 24 April 2013).
//!
//! Entities are products and what was read; activities are attempts, and the run they belong to; the agent is the
//! release of the plugin. Parameters are attributes of the activity, checksums of the entities.

use crate::port::{AttemptRow, Role, RunReads, RunRecord, StoreFault, TargetRow};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NAMESPACE: &str = "https://alidade.invalid/ns#";

/// The document of one product with everything before it in the same run.
pub fn document(run: &RunRecord, attempts: &[AttemptRow], targets: &[TargetRow], product: &TargetRow) -> Value {
    let by_uuid: BTreeMap<&str, &AttemptRow> = attempts.iter().map(|a| (a.uuid.as_str(), a)).collect();
    let mut wanted = vec![product.clone()];
    let mut seen_activities = BTreeSet::new();
    let mut sections: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let agent = format!("alidade:plugin/{}/{}", run.plugin, run.version);
    let run_activity = format!("alidade:run/{}", run.id);
    while let Some(target) = wanted.pop() {
        section(&mut sections, "entity").insert(entity(&target), described(&target));
        let Some(attempt) = by_uuid
            .get(target.attempt.as_str())
            .filter(|_| target.role == Role::Out)
        else {
            continue;
        };
        let activity = format!("alidade:attempt/{}", attempt.uuid);
        let generated = json!({"prov:entity": entity(&target), "prov:activity": activity, "prov:time": attempt.ended});
        section(&mut sections, "wasGeneratedBy")
            .insert(format!("_:g{}", short(&entity(&target))), without_null(generated));
        if !seen_activities.insert(attempt.uuid.clone()) {
            continue;
        }
        section(&mut sections, "activity").insert(activity.clone(), performed(attempt));
        let part = json!({"prov:informed": activity, "prov:informant": run_activity});
        section(&mut sections, "wasInformedBy").insert(format!("_:i{}", attempt.uuid), part);
        let with = json!({"prov:activity": activity, "prov:agent": agent});
        section(&mut sections, "wasAssociatedWith").insert(format!("_:a{}", attempt.uuid), with);
        for input in targets
            .iter()
            .filter(|t| t.role == Role::In && t.attempt == attempt.uuid)
        {
            let used = json!({"prov:activity": activity, "prov:entity": entity(input), "prov:time": attempt.started, "prov:role": input.name});
            section(&mut sections, "used").insert(
                format!("_:u{}{}", attempt.uuid, short(&entity(input))),
                without_null(used),
            );
            let derived = json!({"prov:generatedEntity": entity(&target), "prov:usedEntity": entity(input), "prov:activity": activity});
            section(&mut sections, "wasDerivedFrom")
                .insert(format!("_:d{}{}", attempt.uuid, short(&entity(input))), derived);
            let maker = targets
                .iter()
                .find(|t| t.role == Role::Out && t.path == input.path && !t.sha256.is_empty());
            wanted.push(maker.unwrap_or(input).clone());
        }
    }
    let begun = json!({"prov:startTime": run.started, "prov:endTime": run.ended, "prov:label": run.pipeline,
        "prov:type": "alidade:Run", "alidade:target": run.subject, "alidade:parameters": Value::Object(run.properties.clone()).to_string()});
    section(&mut sections, "activity").insert(run_activity, without_null(begun));
    let software = json!({"prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}, "prov:label": run.plugin, "alidade:version": run.version});
    section(&mut sections, "agent").insert(agent, software);
    let mut whole = Map::new();
    whole.insert("prefix".into(), json!({"alidade": NAMESPACE}));
    whole.extend(
        sections
            .into_iter()
            .map(|(name, all)| (name.to_owned(), Value::Object(all))),
    );
    Value::Object(whole)
}

fn section<'a>(
    sections: &'a mut BTreeMap<&'static str, Map<String, Value>>,
    name: &'static str,
) -> &'a mut Map<String, Value> {
    sections.entry(name).or_default()
}

/// Local names of PROV may not hold everything that a path may.
fn entity(target: &TargetRow) -> String {
    let legal: String = target
        .path
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-/".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("alidade:file/{}", legal.trim_start_matches('/'))
}

fn short(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

fn described(target: &TargetRow) -> Value {
    let label = if target.label.is_empty() {
        &target.name
    } else {
        &target.label
    };
    let mut text = json!({"prov:label": label, "alidade:path": target.path, "alidade:size": target.size, "alidade:sha256": target.sha256});
    if !target.dataset.is_empty() {
        text["alidade:dataset"] = json!(target.dataset);
        text["alidade:dataset_version"] = json!(target.version);
    }
    if !target.level.is_empty() {
        text["alidade:level"] = json!(target.level);
    }
    text
}

fn performed(attempt: &AttemptRow) -> Value {
    without_null(json!({
        "prov:startTime": attempt.started, "prov:endTime": attempt.ended, "prov:label": attempt.node,
        "prov:type": "alidade:Attempt", "alidade:task": format!("{}.{}", attempt.plugin, attempt.task),
        "alidade:category": attempt.category, "alidade:iteration": attempt.iteration,
        "alidade:item": attempt.item.as_ref().map(ToString::to_string),
        "alidade:parameters": attempt.key_parts.get("arguments").map(ToString::to_string),
        "alidade:software_digest": attempt.key_parts.get("software"), "alidade:status": attempt.status,
    }))
}

fn without_null(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, v| !v.is_null());
    }
    value
}

/// Finds a product by label, path or checksum, and tells where it comes from.
pub fn of_product(store: &mut dyn RunReads, wanted: &str) -> Result<Option<Value>, StoreFault> {
    let Some(product) = store.products(wanted)?.into_iter().next() else {
        return Ok(None);
    };
    let Some(run) = store.run(&product.run)? else {
        return Ok(None);
    };
    let (attempts, targets) = (store.attempts(&run.id)?, store.targets(&run.id)?);
    Ok(Some(document(&run, &attempts, &targets, &product)))
}
