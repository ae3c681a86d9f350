//! The manifest in its three spellings.
//!
//! | file | spelling | from |
//! |---|---|---|
//! | `pipeline.json` | ours | this project |
//! | `metadata.yaml`, key `pirus` | Pirus: a tar with `rootfs/` beside it; `name` and `job` are mandatory | REGOVAR/Pirus, `config.default` |
//! | `manifest.json` | Regovar: `name` and `version` are mandatory; `run.sh`, `Dockerfile` | REGOVAR/Regovar |
//!
//! All faults are listed at once. What a spelling does not say gets Pirus's defaults: inputs `/pipeline/inputs`, outputs
//! `/pipeline/outputs`, logs `/pipeline/logs`, databases `/pipeline/databases`, form `form.json`, icon `icon.png`.

use super::PackageError;
use crate::executors::{Limits, Places};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// Which spelling a manifest is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    Alidade,
    Pirus,
    Regovar,
}

/// Where the command's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootSource {
    /// The machine's own programs.
    Host,
    /// A folder of the package.
    Folder(PathBuf),
    /// An OCI image layout of the package: a folder, or an archive (tar or tar.gz) of one or of a root file system.
    Image(PathBuf),
}

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub spelling: Spelling,
    pub name: String,
    pub version: String,
    pub description: String,
    pub pirus_api: String,
    pub license: String,
    pub developers: Vec<String>,
    /// `job`, `importer`, `exporter` or `reporter` (Regovar's `type`).
    pub kind: String,
    pub command: Vec<String>,
    pub places: Places,
    /// Files of the package, by what they are; only those that exist are kept when it is installed.
    pub form: PathBuf,
    pub icon: PathBuf,
    pub documents: BTreeMap<String, PathBuf>,
    pub root: RootSource,
    pub limits: Limits,
    pub network: bool,
    /// What is not as its author may expect.
    pub warnings: Vec<String>,
}

/// Reads fields and remembers what is wrong with them.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    faults: Vec<String>,
}

impl<'a> Fields<'a> {
    fn text(&mut self, key: &str) -> Option<String> {
        match self.map.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            // YAML writes a version 1.0 as a number.
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(_)) => None,
            Some(_) => {
                self.faults.push(format!("/{key}: not a text"));
                None
            }
        }
    }

    fn mandatory(&mut self, key: &str) -> String {
        let before = self.faults.len();
        let text = self.text(key);
        if text.is_none() && self.faults.len() == before {
            self.faults.push(format!("/{key}: missing"));
        }
        text.unwrap_or_default()
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        match self.map.get(key) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(items)) => {
                let texts: Vec<String> = items
                    .iter()
                    .filter_map(|item| match item {
                        Value::String(text) => Some(text.clone()),
                        Value::Object(person) => {
                            let part = |key: &str| person.get(key).and_then(Value::as_str).unwrap_or_default();
                            Some(format!("{} {}", part("name"), part("email")).trim().to_owned())
                        }
                        _ => None,
                    })
                    .collect();
                if texts.len() != items.len() {
                    self.faults.push(format!("/{key}: not a list of texts"));
                }
                texts
            }
            Some(_) => {
                self.faults.push(format!("/{key}: not a list of texts"));
                Vec::new()
            }
        }
    }

    /// A file of the package.
    fn file(&mut self, key: &str, default: &str) -> PathBuf {
        let path = PathBuf::from(self.text(key).unwrap_or_else(|| default.into()));
        if !is_inside(&path) {
            self.faults
                .push(format!("/{key}: {} is not a file of the package", path.display()));
        }
        path
    }

    /// A mount point in the sandbox.
    fn place(&mut self, key: &str, default: &Path) -> PathBuf {
        let path = self.text(key).map_or_else(|| default.to_owned(), PathBuf::from);
        let plain = path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let taken = ["/proc", "/dev", "/usr", "/bin", "/sbin", "/lib", "/etc"]
            .iter()
            .any(|own| path.starts_with(own));
        if !path.is_absolute() || !plain || path.parent().is_none() || taken {
            self.faults
                .push(format!("/{key}: {} cannot be a mount point", path.display()));
        }
        path
    }

    fn places(&mut self) -> Places {
        let default = Places::default();
        let places = Places {
            inputs: self.place("inputs", &default.inputs),
            outputs: self.place("outputs", &default.outputs),
            logs: self.place("logs", &default.logs),
            databases: self.place("databases", &default.databases),
        };
        let all = [&places.inputs, &places.outputs, &places.logs, &places.databases];
        for (index, one) in all.iter().enumerate() {
            if all
                .iter()
                .skip(index + 1)
                .any(|other| one.starts_with(other) || other.starts_with(one))
            {
                self.faults
                    .push(format!("{} lies within another mount point", one.display()));
            }
        }
        places
    }

    fn done(self, file: &str, manifest: Manifest) -> Result<Manifest, PackageError> {
        if self.faults.is_empty() {
            return Ok(manifest);
        }
        Err(PackageError::Manifest {
            file: file.into(),
            faults: self.faults,
        })
    }
}

fn is_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The keys of our own spelling; another is a fault, as it would be believed and do nothing.
const KEYS: &[&str] = &[
    "name",
    "version",
    "description",
    "pirus_api",
    "license",
    "developers",
    "type",
    "command",
    "inputs",
    "outputs",
    "logs",
    "databases",
    "form",
    "icon",
    "documents",
    "root",
    "image",
    "limits",
    "network",
];

impl Manifest {
    /// The manifest in a folder, whichever spelling it has.
    pub fn of_folder(folder: &Path) -> Result<Self, PackageError> {
        let read = |name: &str| -> Result<Option<String>, PackageError> {
            let file = folder.join(name);
            match std::fs::symlink_metadata(&file) {
                Ok(found) if found.is_file() && found.len() <= 1 << 20 => {}
                Ok(_) => {
                    return Err(PackageError::Manifest {
                        file: name.into(),
                        faults: vec!["not a file of at most 1 MiB".into()],
                    });
                }
                Err(_) => return Ok(None),
            }
            std::fs::read_to_string(&file)
                .map(Some)
                .map_err(PackageError::at(&file))
        };
        let fault = |file: &str, cause: String| PackageError::Manifest {
            file: file.into(),
            faults: vec![cause],
        };
        let object = |file: &str, value: Value| match value {
            Value::Object(map) => Ok(map),
            _ => Err(fault(file, "not an object".into())),
        };
        if let Some(text) = read("pipeline.json")? {
            let value = serde_json::from_str(&text).map_err(|e| fault("pipeline.json", e.to_string()))?;
            return Self::alidade(&object("pipeline.json", value)?);
        }
        if let Some(text) = read("metadata.yaml")? {
            let value: Value = serde_saphyr::from_str(&text).map_err(|e| fault("metadata.yaml", e.to_string()))?;
            let pirus = value.get("pirus").cloned().unwrap_or(Value::Null);
            if pirus.is_null() {
                return Err(fault("metadata.yaml", "/pirus: missing".into()));
            }
            return Self::pirus(&object("metadata.yaml", pirus)?);
        }
        if let Some(text) = read("manifest.json")? {
            let value = serde_json::from_str(&text).map_err(|e| fault("manifest.json", e.to_string()))?;
            return Self::regovar(&object("manifest.json", value)?, folder);
        }
        Err(PackageError::NoManifest)
    }

    fn common(fields: &mut Fields<'_>, spelling: Spelling) -> Self {
        Self {
            spelling,
            name: fields.mandatory("name"),
            version: String::new(),
            description: fields.text("description").unwrap_or_default(),
            pirus_api: fields.text("pirus_api").unwrap_or_else(|| "1.0.0".into()),
            license: fields.text("license").unwrap_or_default(),
            developers: Vec::new(),
            kind: fields.text("type").unwrap_or_else(|| "job".into()),
            command: Vec::new(),
            places: fields.places(),
            form: fields.file("form", "form.json"),
            icon: fields.file("icon", "icon.png"),
            documents: BTreeMap::new(),
            root: RootSource::Host,
            limits: Limits::default(),
            network: false,
            warnings: Vec::new(),
        }
    }

    fn alidade(map: &Map<String, Value>) -> Result<Self, PackageError> {
        let mut fields = Fields {
            map,
            faults: Vec::new(),
        };
        let mut it = Self::common(&mut fields, Spelling::Alidade);
        it.version = fields.mandatory("version");
        it.developers = fields.texts("developers");
        it.command = match map.get("command") {
            Some(Value::String(line)) if !line.trim().is_empty() => shell(line),
            Some(Value::Array(_)) => fields.texts("command"),
            _ => Vec::new(),
        };
        if it.command.is_empty() {
            fields.faults.push("/command: missing".into());
        }
        it.root = match (map.get("root"), map.get("image")) {
            (Some(_), Some(_)) => {
                fields.faults.push("/image: there is a root already".into());
                RootSource::Host
            }
            (Some(_), None) => RootSource::Folder(fields.file("root", "rootfs")),
            (None, Some(_)) => RootSource::Image(fields.file("image", "image")),
            (None, None) => RootSource::Host,
        };
        // Links are unpacked in `rootfs` only, so a root file system of another name would be refused for its first.
        if matches!(&it.root, RootSource::Folder(folder) if folder != Path::new("rootfs")) {
            fields.faults.push("/root: the folder is called rootfs".into());
        }
        match map.get("documents") {
            None | Some(Value::Null) => {}
            Some(Value::Object(documents)) => {
                for (name, file) in documents {
                    match file.as_str().map(PathBuf::from).filter(|file| is_inside(file)) {
                        Some(file) => drop(it.documents.insert(name.clone(), file)),
                        None => fields
                            .faults
                            .push(format!("/documents/{name}: not a file of the package")),
                    }
                }
            }
            Some(_) => fields.faults.push("/documents: not an object".into()),
        }
        if let Some(limits) = map.get("limits") {
            match serde_json::from_value(limits.clone()) {
                Ok(limits) => it.limits = limits,
                Err(cause) => fields.faults.push(format!("/limits: {cause}")),
            }
        }
        match map.get("network") {
            None => {}
            Some(Value::Bool(network)) => it.network = *network,
            Some(_) => fields.faults.push("/network: not true or false".into()),
        }
        for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            fields.faults.push(format!("/{key}: unknown"));
        }
        fields.done("pipeline.json", it)
    }

    fn pirus(map: &Map<String, Value>) -> Result<Self, PackageError> {
        let mut fields = Fields {
            map,
            faults: Vec::new(),
        };
        let mut it = Self::common(&mut fields, Spelling::Pirus);
        it.version = fields.text("version").unwrap_or_default();
        it.developers = fields.texts("developers");
        it.command = shell(&fields.mandatory("job"));
        it.root = RootSource::Folder("rootfs".into());
        for (name, file) in [
            ("help", "help.html"),
            ("changelog", "changelog"),
            ("license", "license"),
        ] {
            it.documents.insert(name.into(), file.into());
        }
        for file in fields.texts("documents") {
            let path = PathBuf::from(&file);
            if is_inside(&path) {
                it.documents.insert(file, path);
            }
        }
        fields.done("metadata.yaml", it)
    }

    fn regovar(map: &Map<String, Value>, folder: &Path) -> Result<Self, PackageError> {
        let mut fields = Fields {
            map,
            faults: Vec::new(),
        };
        let mut it = Self::common(&mut fields, Spelling::Regovar);
        it.version = fields.mandatory("version");
        it.developers = fields.texts("contacts");
        it.documents.insert("about".into(), "doc/about.html".into());
        it.documents.insert("help".into(), "doc/help.html".into());
        if folder.join("rootfs").is_dir() {
            it.root = RootSource::Folder("rootfs".into());
        } else if let Some(image) = ["image", "image.tar", "image.tar.gz"]
            .iter()
            .find(|name| folder.join(name).exists())
        {
            it.root = RootSource::Image(image.into());
        } else if folder.join("Dockerfile").exists() {
            it.warnings
                .push("its Dockerfile is not built: it runs on this machine's programs".into());
        }
        if !folder.join("run.sh").is_file() {
            fields.faults.push("run.sh: missing".into());
        }
        if fields.map.get("regovar_db_access").and_then(Value::as_bool) == Some(true) {
            it.warnings.push("there is no Regovar database here".into());
        }
        it.command = vec!["/bin/sh".into(), format!("{PROGRAM_PLACE}/run.sh")];
        fields.done("manifest.json", it)
    }
}

/// Where the sandbox shows the package's own files.
pub const PROGRAM_PLACE: &str = "/pipeline/package";

fn shell(line: &str) -> Vec<String> {
    if line.is_empty() {
        return Vec::new();
    }
    ["/bin/sh", "-c", line].map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_manifest_of_pirus_gets_its_defaults() {
        let yaml = "architecture: x86_64\npirus:\n  name: Echo\n  job: \"/pipeline/job/run.sh\"\n  version: 1.2\n  \
                    developers:\n    - A\n    - B\n";
        let value: Value = serde_saphyr::from_str(yaml).unwrap();
        let it = Manifest::pirus(&object(value["pirus"].clone())).unwrap();
        assert_eq!(
            (it.name.as_str(), it.version.as_str(), it.developers.len()),
            ("Echo", "1.2", 2)
        );
        assert_eq!(it.command, ["/bin/sh", "-c", "/pipeline/job/run.sh"]);
        assert_eq!(
            (it.places, it.root),
            (Places::default(), RootSource::Folder("rootfs".into()))
        );
        assert_eq!(it.form, Path::new("form.json"));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let map = object(serde_json::json!({
            "version": 3, "comand": "x", "inputs": "relative", "outputs": "/etc/x", "form": "../form.json", "network": "yes",
            "limits": {"memory": -1}, "logs": "/pipeline/databases/logs",
        }));
        let Err(PackageError::Manifest { faults, .. }) = Manifest::alidade(&map) else {
            panic!();
        };
        for word in [
            "/name: missing",
            "/command: missing",
            "/comand: unknown",
            "/inputs",
            "/outputs",
            "/form",
            "/network",
            "/limits",
            "lies within",
        ] {
            assert!(faults.iter().any(|fault| fault.contains(word)), "{word}: {faults:?}");
        }
    }
}
