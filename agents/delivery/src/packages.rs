//! What leaves the house with the products: links, provenance (W3C PROV-JSON), BagIt packages (RFC 8493).

use crate::{
    archive::{Archive, ArchiveError},
    books::Fault,
    desk::Desk,
    driver, ingest,
    manifest::sha256,
    obscore::{self, ObsCore},
    review,
    votable::Link,
};
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

const MANY: i64 = 100_000;

/// What belongs to a product: itself, the weblog, the report, the provenance, the previews of the same frame.
pub fn links_of(desk: &mut Desk, name: &str) -> Result<Option<Vec<Link>>, Fault> {
    let Some(document) = desk.books.record(ingest::DOCUMENT, name)? else {
        return Ok(None);
    };
    let siblings = desk.books.products(Some(&document.unit), MANY)?;
    let Some(product) = siblings.iter().find(|p| p.name == name) else {
        return Ok(None);
    };
    let id = product.obs_publisher_did.clone();
    let link = |semantics, url: String, description: &str, kind: &str| Link {
        id: id.clone(),
        access_url: Some(url),
        error: None,
        semantics,
        description: description.into(),
        content_type: kind.into(),
        content_length: None,
    };
    let mut links = vec![Link {
        content_length: document.body["size"].as_u64(),
        ..link(
            "#this",
            product.access_url.clone(),
            "the product",
            &product.access_format,
        )
    }];
    let stem = |name: &str| {
        name.rsplit('/')
            .next()
            .and_then(|n| n.split('.').next())
            .map(str::to_owned)
    };
    for other in siblings
        .iter()
        .filter(|o| o.name != name && stem(&o.name) == stem(name))
    {
        let semantics = if other.access_format.starts_with("image/png") {
            "#preview"
        } else {
            "#auxiliary"
        };
        links.push(link(
            semantics,
            other.access_url.clone(),
            "of the same frame",
            &other.access_format,
        ));
    }
    if let Some(report) = review::newest_report(desk, &document.unit)? {
        let unit = &document.unit;
        links.push(link(
            "#documentation",
            format!("/api/v1/data/report?unit={unit}"),
            "pipeline report",
            "text/xml",
        ));
        if let Some(weblog) = report.body["weblog"].as_str() {
            let pages = format!("/weblogs/{}/index.html", weblog.trim_end_matches(".zip"));
            links.push(link("#documentation", pages, "weblog", "text/html"));
        }
        links.push(link(
            "#documentation",
            format!("/api/v1/data/prov?unit={unit}"),
            "provenance (PROV-JSON)",
            "application/json",
        ));
    }
    Ok(Some(links))
}

/// How a unit's products came about: PROV-JSON (W3C member submission, 24 April 2013).
///
/// Entities are inputs and products, activities the pipeline run, the review and the delivery, agents the pipeline, the
/// executive and the reviewer.
pub fn provenance(desk: &mut Desk, uid: &str) -> Result<Option<Value>, Fault> {
    let Some(unit) = desk.books.unit(uid)? else {
        return Ok(None);
    };
    let runs = desk.books.records(driver::JOB, Some(uid), None, MANY)?;
    let products = desk.books.products(Some(uid), MANY)?;
    let reviews = desk.books.records(review::REVIEW, Some(uid), None, MANY)?;
    let mut prov = Prov::default();
    let unit_id = prov.add(
        "entity",
        "unit",
        uid,
        json!({ "alidade:program": unit.program, "prov:label": uid }),
    );
    for run in runs.iter().filter(|run| run.state == "done") {
        let activity = prov.add(
            "activity",
            "run",
            &run.id,
            json!({
                "prov:startTime": run.body["stamp"], "prov:endTime": run.at, "alidade:recipe": run.body["recipe"],
                "alidade:attempts": run.body["attempts"],
            }),
        );
        let recipe = run.body["recipe"].as_str().unwrap_or("unknown");
        let agent = prov.add(
            "agent",
            "pipeline",
            recipe,
            json!({ "prov:type": "prov:SoftwareAgent" }),
        );
        prov.relate(
            "wasAssociatedWith",
            json!({ "prov:activity": activity, "prov:agent": agent }),
        );
        prov.relate("used", json!({ "prov:activity": activity, "prov:entity": unit_id }));
        for input in run.body["inputs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let entity = prov.add("entity", "input", input, json!({ "prov:location": input }));
            prov.relate("used", json!({ "prov:activity": activity, "prov:entity": entity }));
        }
        let group = format!("{}/", run.body["group"].as_str().unwrap_or_default());
        for product in products.iter().filter(|p| p.name.starts_with(&group)) {
            let entity = prov.add(
                "entity",
                "product",
                &product.name,
                json!({ "alidade:sha256": product.sha256, "alidade:did": product.obs_publisher_did }),
            );
            prov.relate(
                "wasGeneratedBy",
                json!({ "prov:entity": entity, "prov:activity": activity }),
            );
            prov.relate(
                "wasDerivedFrom",
                json!({ "prov:generatedEntity": entity, "prov:usedEntity": unit_id }),
            );
        }
    }
    for review in &reviews {
        let who = review.body["reviewer"].as_str().unwrap_or("unknown");
        let agent = prov.add("agent", "person", who, json!({ "prov:type": "prov:Person" }));
        let activity = prov.add(
            "activity",
            "review",
            &review.id,
            json!({
                "prov:startTime": review.body["begun"], "prov:endTime": review.at, "alidade:verdict": review.state,
                "alidade:comment": review.body["comment"],
            }),
        );
        prov.relate(
            "wasAssociatedWith",
            json!({ "prov:activity": activity, "prov:agent": agent }),
        );
        prov.relate("used", json!({ "prov:activity": activity, "prov:entity": unit_id }));
    }
    Ok(Some(prov.document()))
}

#[derive(Default)]
struct Prov {
    parts: Map<String, Value>,
    relations: usize,
}

impl Prov {
    fn part(&mut self, kind: &str) -> &mut Map<String, Value> {
        let part = self.parts.entry(kind).or_insert_with(|| json!({}));
        match part {
            Value::Object(map) => map,
            _ => unreachable!("invariant: parts are objects"),
        }
    }

    /// An element under a qualified name; what a name cannot hold is replaced.
    fn add(&mut self, kind: &str, what: &str, name: &str, mut attributes: Value) -> String {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let local: String = name.chars().map(|c| if legal(c) { c } else { '_' }).collect();
        let id = format!("alidade:{what}/{local}");
        if let Value::Object(map) = &mut attributes {
            map.retain(|_, value| !value.is_null() && value != "");
        }
        self.part(kind).insert(id.clone(), attributes);
        id
    }

    fn relate(&mut self, kind: &str, body: Value) {
        self.relations += 1;
        let id = format!("_:r{}", self.relations);
        self.part(kind).insert(id, body);
    }

    fn document(mut self) -> Value {
        self.parts.insert("prefix".into(), json!({ "alidade": "urn:alidade:" }));
        Value::Object(self.parts)
    }
}

/// What goes into a bag.
#[derive(Debug, Clone, PartialEq)]
pub struct BagPlan {
    pub unit: String,
    pub program: String,
    pub products: Vec<ObsCore>,
    pub provenance: Value,
    pub date: String,
}

pub fn bag_plan(desk: &mut Desk, uid: &str) -> Result<Option<BagPlan>, Fault> {
    let Some(unit) = desk.books.unit(uid)? else {
        return Ok(None);
    };
    Ok(Some(BagPlan {
        unit: uid.into(),
        program: unit.program,
        products: desk.books.products(Some(uid), MANY)?,
        provenance: provenance(desk, uid)?.unwrap_or_default(),
        date: desk.now.chrono().format("%Y-%m-%d").to_string(),
    }))
}

/// Why a bag was not written; the folder is as before.
#[derive(Debug, thiserror::Error)]
pub enum BagError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    #[error("{0}: exists already")]
    Exists(String),
    #[error("{0}: is not verified in the archive here")]
    Unverified(String),
    #[error("{0} has no archived products")]
    Empty(String),
}

/// Writes a bag beside its place and renames it there when every file is verified; how many products.
pub fn write_bag(plan: &BagPlan, archive: &dyn Archive, folder: &Path) -> Result<usize, BagError> {
    if folder.exists() {
        return Err(BagError::Exists(folder.display().to_string()));
    }
    if plan.products.is_empty() {
        return Err(BagError::Empty(plan.unit.clone()));
    }
    let staging = folder.with_extension("unfinished");
    let io = |path: &Path| {
        let place = path.display().to_string();
        move |e| BagError::Io(place.clone(), e)
    };
    let written = fill_bag(plan, archive, &staging).and_then(|()| fs::rename(&staging, folder).map_err(io(folder)));
    if written.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    written.map(|()| plan.products.len())
}

fn fill_bag(plan: &BagPlan, archive: &dyn Archive, staging: &Path) -> Result<(), BagError> {
    let io = |e| BagError::Io(staging.display().to_string(), e);
    let _ = fs::remove_dir_all(staging);
    let mut sums = String::new();
    let mut octets = 0;
    // RFC 8493, 2.1.3: line ends and percent signs in paths are percent-encoded.
    let encoded = |path: &str| path.replace('%', "%25").replace('\n', "%0A").replace('\r', "%0D");
    for product in &plan.products {
        let target = staging.join("data").join(&product.name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        if !archive.check(&product.name, &product.sha256)? {
            return Err(BagError::Unverified(product.name.clone()));
        }
        octets += fs::copy(archive.path(&product.name)?, &target).map_err(io)?;
        sums.push_str(&format!("{}  data/{}\n", product.sha256, encoded(&product.name)));
    }
    let provenance = format!("{:#}\n", plan.provenance);
    fs::write(staging.join("data/provenance.json"), &provenance).map_err(io)?;
    sums.push_str(&format!("{}  data/provenance.json\n", sha256(provenance.as_bytes())));
    octets += provenance.len() as u64;
    let info = format!(
        "Source-Organization: Alidade\nExternal-Identifier: {}\nExternal-Description: products of program {}\n\
         Bagging-Date: {}\nPayload-Oxum: {octets}.{}\n",
        plan.unit,
        plan.program,
        plan.date,
        plan.products.len() + 1
    );
    let declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    let files = [
        ("bagit.txt", declaration),
        ("bag-info.txt", &info),
        ("manifest-sha256.txt", &sums),
    ];
    let mut tags = String::new();
    for (name, text) in files {
        fs::write(staging.join(name), text).map_err(io)?;
        tags.push_str(&format!("{}  {name}\n", sha256(text.as_bytes())));
    }
    fs::write(staging.join("tagmanifest-sha256.txt"), tags).map_err(io)
}

/// The media type of a document of the archive.
pub fn media_type(name: &str) -> &'static str {
    obscore::media_type(name)
}
