//! What has come: packages that go on the shelf, input files, the form of a run on them.

use super::{Asker, Desk, DeskError, io_at};
use crate::{
    packages::{Package, PackageError, form, shelf::is_id},
    upload::{Upload, UploadError},
};
use alidade_model::time::UtcTime;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

impl Desk {
    /// What is to be done with a file that has come whole: a package is put on the shelf, an input is kept. True for a
    /// package, which is then to be installed ([`Desk::install`]).
    pub fn arrived(&self, upload: &Upload, now: UtcTime) -> Result<bool, DeskError> {
        let path = self.uploads.path(&upload.id);
        let package = is_package(upload);
        if package {
            let taken = self.shelf.take(&path, &upload.file_name(), &upload.id, now, false);
            self.uploads.remove(&upload.id);
            taken?;
        } else {
            let folder = self.settings.root.join("files").join(&upload.id);
            fs::create_dir_all(&folder).map_err(io_at(&folder))?;
            if let Some(owner) = &upload.owner {
                let note = self.owner_note(&upload.id);
                fs::write(&note, owner).map_err(io_at(&note))?;
            }
            let to = folder.join(upload.file_name());
            fs::rename(&path, &to).map_err(io_at(&to))?;
            self.uploads.remove(&upload.id);
        }
        self.inner().version += 1;
        Ok(package)
    }

    /// Installs a package of the shelf; slow.
    pub fn install(&self, id: &str) -> Result<Package, DeskError> {
        let installed = self.shelf.install(id);
        self.inner().version += 1;
        Ok(installed?)
    }

    /// The size of what had come as an upload and is in its place now.
    pub fn arrived_size(&self, id: &str) -> Option<u64> {
        if let Ok(package) = self.shelf.show(id) {
            return Some(package.size);
        }
        let (_, path) = self.file(id).ok()?;
        fs::metadata(path).ok().map(|found| found.len())
    }

    /// Where the account is written down that an input file belongs to: beside its folder.
    fn owner_note(&self, id: &str) -> PathBuf {
        self.settings.root.join("files").join(format!("{id}.owner"))
    }

    fn owner_of_file(&self, id: &str) -> Option<String> {
        fs::read_to_string(self.owner_note(id)).ok()
    }

    /// Whether somebody may touch an upload or an input file. Somebody else's is told like one that is not there; packages
    /// are everybody's.
    pub fn allow(&self, id: &str, asker: &Asker) -> Result<(), DeskError> {
        let owner = match self.uploads.owner(id) {
            Ok(owner) => owner,
            Err(UploadError::Unknown) if !is_id(id) || self.shelf.show(id).is_ok() => return Ok(()),
            Err(UploadError::Unknown) => self.owner_of_file(id),
            Err(other) => return Err(other.into()),
        };
        if asker.may(owner.as_deref()) {
            Ok(())
        } else {
            Err(DeskError::NoFile(id.into()))
        }
    }

    /// Input files that have come and that the asker may see: identifier, name, size, owner.
    pub fn files(&self, asker: &Asker) -> Result<Vec<Value>, DeskError> {
        let root = self.settings.root.join("files");
        let mut all = Vec::new();
        for entry in fs::read_dir(&root).map_err(io_at(&root))?.flatten() {
            if let Some(id) = entry.file_name().to_str()
                && let Ok((name, path)) = self.file(id)
            {
                let owner = self.owner_of_file(id);
                if !asker.may(owner.as_deref()) {
                    continue;
                }
                let size = fs::metadata(&path).map_err(io_at(&path))?.len();
                all.push(json!({ "id": id, "name": name, "size": size, "owner": owner, "status": "uploaded" }));
            }
        }
        all.sort_by_key(|file| file["name"].as_str().map(String::from));
        Ok(all)
    }

    pub(super) fn file(&self, id: &str) -> Result<(String, PathBuf), DeskError> {
        let missing = || DeskError::NoFile(id.into());
        if !is_id(id) {
            return Err(missing());
        }
        let folder = self.settings.root.join("files").join(id);
        let entry = fs::read_dir(folder)
            .map_err(|_| missing())?
            .flatten()
            .next()
            .ok_or_else(missing)?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    }

    pub fn remove_file(&self, id: &str) -> Result<(), DeskError> {
        let (_, path) = self.file(id)?;
        let used = self
            .inner()
            .runs
            .values()
            .any(|run| !run.is_over() && run.inputs.iter().any(|i| i.source == path));
        if used {
            return Err(DeskError::Refused("a run that is not over reads this file".into()));
        }
        let folder = self.settings.root.join("files").join(id);
        fs::remove_dir_all(&folder).map_err(io_at(&folder))?;
        drop(fs::remove_file(self.owner_note(id)));
        Ok(())
    }

    /// Removes a package that no run needs any more.
    pub fn remove_package(&self, id: &str, now: UtcTime) -> Result<(), DeskError> {
        let mut inner = self.inner();
        if inner.runs.values().any(|run| run.package == id && !run.is_over()) {
            return Err(DeskError::Refused(format!("a run of package {id} is not over")));
        }
        match self.shelf.remove(id) {
            Err(PackageError::Unknown(_)) => self.uploads.terminate(id, now)?,
            done => done?,
        }
        inner.version += 1;
        Ok(())
    }

    /// The form of a package for a run on these inputs.
    pub fn form(&self, package: &Package, inputs: &[String]) -> Result<Value, DeskError> {
        Ok(form::filled(&self.shelf.form(package)?, inputs, &self.database_names()))
    }

    pub(super) fn database_names(&self) -> Vec<String> {
        let entries = self
            .settings
            .databases
            .as_ref()
            .and_then(|folder| fs::read_dir(folder).ok());
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Uploads say what they are for; what says nothing and looks like an archive is a package.
pub fn is_package(upload: &Upload) -> bool {
    match upload.metadata.get("purpose").map(String::as_str) {
        Some("package") => true,
        Some(_) => false,
        None => {
            let name = upload.file_name().to_lowercase();
            [".tar", ".tar.gz", ".tgz", ".zip"]
                .iter()
                .any(|end| name.ends_with(end))
        }
    }
}
