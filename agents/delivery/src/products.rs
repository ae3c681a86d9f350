//! Names and places of products, as the ALMA workflow lays them out.
//!
//! ```text
//! 2015.1.00657.S_2018_07_19T07_10_03.781/          the group: program and instant of the run
//! └── SOUS/GOUS/uid___X1_X1_Xc1/products/
//!     ├── pl-report-X1-X1-Xc1-2018-07-19T07:10:03.781.xml
//!     ├── product-0-X1-X1-Xc1-2018-07-19T07:10:03.781.data ...
//!     └── weblog-X1-X1-Xc1-2018-07-19T07:10:03.781.zip
//! ```
//!
//! A *station* is a site's folder: `cache` (groups, and weblogs below `cache/weblogs`), `archive`, `staging`, `work`.

use crate::unit::{dashed, encoded};
use alidade_model::time::UtcTime;
use std::path::{Path, PathBuf};

/// Instant of a run, to the millisecond: part of every name.
pub fn group_name(program: &str, at: UtcTime) -> String {
    format!("{program}_{}", at.chrono().format("%Y_%m_%dT%H_%M_%S%.3f"))
}

/// The same instant as it stands in names of files.
pub fn timestamp(at: UtcTime) -> String {
    at.chrono().format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// `SOUS/GOUS/<unit>/products`, relative to the group.
pub fn products_path(uid: &str) -> PathBuf {
    Path::new("SOUS/GOUS").join(encoded(uid)).join("products")
}

pub fn report_name(uid: &str, timestamp: &str) -> String {
    format!("pl-report-{}-{timestamp}.xml", dashed(uid))
}

pub fn product_name(number: usize, uid: &str, timestamp: &str) -> String {
    format!("product-{number}-{}-{timestamp}.data", dashed(uid))
}

pub fn weblog_name(uid: &str, timestamp: &str) -> String {
    format!("weblog-{}-{timestamp}.zip", dashed(uid))
}

/// What a file of a products folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Report,
    Weblog,
    Product,
}

/// By its name.
pub fn role(file: &str) -> Role {
    let name = file.rsplit('/').next().unwrap_or(file);
    if name.starts_with("pl-report-") && name.ends_with(".xml") {
        Role::Report
    } else if name.starts_with("weblog-") && name.ends_with(".zip") {
        Role::Weblog
    } else {
        Role::Product
    }
}

/// Names that come in messages become parts of paths: one plain component, or nothing.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['.', '-'])
        && !name.chars().any(|c| c == '/' || c == '\\' || c.is_control());
    if plain {
        Ok(())
    } else {
        Err(format!("{name:?} is not the name of a file"))
    }
}

/// The folders of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    pub top: PathBuf,
}

impl Folders {
    pub fn at(top: &Path) -> Self {
        Self { top: top.into() }
    }

    pub fn make(&self) -> std::io::Result<()> {
        for folder in [self.weblogs(), self.archive(), self.staging(), self.work()] {
            std::fs::create_dir_all(folder)?;
        }
        Ok(())
    }

    pub fn cache(&self) -> PathBuf {
        self.top.join("cache")
    }

    pub fn weblogs(&self) -> PathBuf {
        self.top.join("cache/weblogs")
    }

    pub fn archive(&self) -> PathBuf {
        self.top.join("archive")
    }

    pub fn staging(&self) -> PathBuf {
        self.top.join("staging")
    }

    pub fn work(&self) -> PathBuf {
        self.top.join("work")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_seed() {
        let at: UtcTime = "2018-07-19T07:10:03.781Z".parse().unwrap();
        assert_eq!(
            group_name("2015.1.00657.S", at),
            "2015.1.00657.S_2018_07_19T07_10_03.781"
        );
        let stamp = timestamp(at);
        assert_eq!(
            product_name(0, "uid://X1/X1/Xa1", &stamp),
            "product-0-X1-X1-Xa1-2018-07-19T07:10:03.781.data"
        );
        assert_eq!(role(&weblog_name("uid://X1/X1/Xa1", &stamp)), Role::Weblog);
        for bad in ["", "a/b", "..", ".x", "a\nb", "-rf"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
