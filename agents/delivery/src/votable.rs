//! VOTables (IVOA VOTable 1.4): products as ObsCore 1.1, what belongs to a product as DataLink 1.1, and cones.

use crate::obscore::{ObsCore, separation_deg};

/// A column: name, data type, arraysize, unit, UCD, utype.
type Field = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// ObsCore's mandatory columns in the order of its table 1; UCDs and utypes are those of its tables 4 and 5.
const OBSCORE: &[Field] = &[
    (
        "dataproduct_type",
        "char",
        "*",
        "",
        "meta.code.class",
        "ObsDataset.dataProductType",
    ),
    (
        "calib_level",
        "int",
        "",
        "",
        "meta.code;obs.calib",
        "ObsDataset.calibLevel",
    ),
    ("obs_collection", "char", "*", "", "meta.id", "DataID.collection"),
    ("obs_id", "char", "*", "", "meta.id", "DataID.observationID"),
    (
        "obs_publisher_did",
        "char",
        "*",
        "",
        "meta.ref.ivoid",
        "Curation.publisherDID",
    ),
    ("access_url", "char", "*", "", "meta.ref.url", "Access.reference"),
    ("access_format", "char", "*", "", "meta.code.mime", "Access.format"),
    (
        "access_estsize",
        "long",
        "",
        "kbyte",
        "phys.size;meta.file",
        "Access.size",
    ),
    ("target_name", "char", "*", "", "meta.id;src", "Target.name"),
    (
        "s_ra",
        "double",
        "",
        "deg",
        "pos.eq.ra",
        "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C1",
    ),
    (
        "s_dec",
        "double",
        "",
        "deg",
        "pos.eq.dec",
        "Char.SpatialAxis.Coverage.Location.Coord.Position2D.Value2.C2",
    ),
    (
        "s_fov",
        "double",
        "",
        "deg",
        "phys.angSize;instr.fov",
        "Char.SpatialAxis.Coverage.Bounds.Extent.diameter",
    ),
    (
        "s_region",
        "char",
        "*",
        "",
        "pos.outline;obs.field",
        "Char.SpatialAxis.Coverage.Support.Area",
    ),
    (
        "s_resolution",
        "double",
        "",
        "arcsec",
        "pos.angResolution",
        "Char.SpatialAxis.Resolution.Refval.value",
    ),
    ("s_xel1", "long", "", "", "meta.number", "Char.SpatialAxis.numBins1"),
    ("s_xel2", "long", "", "", "meta.number", "Char.SpatialAxis.numBins2"),
    (
        "t_min",
        "double",
        "",
        "d",
        "time.start;obs.exposure",
        "Char.TimeAxis.Coverage.Bounds.Limits.StartTime",
    ),
    (
        "t_max",
        "double",
        "",
        "d",
        "time.end;obs.exposure",
        "Char.TimeAxis.Coverage.Bounds.Limits.StopTime",
    ),
    (
        "t_exptime",
        "double",
        "",
        "s",
        "time.duration;obs.exposure",
        "Char.TimeAxis.Coverage.Support.Extent",
    ),
    (
        "t_resolution",
        "double",
        "",
        "s",
        "time.resolution",
        "Char.TimeAxis.Resolution.Refval.value",
    ),
    ("t_xel", "long", "", "", "meta.number", "Char.TimeAxis.numBins"),
    (
        "em_min",
        "double",
        "",
        "m",
        "em.wl;stat.min",
        "Char.SpectralAxis.Coverage.Bounds.Limits.LoLimit",
    ),
    (
        "em_max",
        "double",
        "",
        "m",
        "em.wl;stat.max",
        "Char.SpectralAxis.Coverage.Bounds.Limits.HiLimit",
    ),
    (
        "em_res_power",
        "double",
        "",
        "",
        "spect.resolution",
        "Char.SpectralAxis.Resolution.ResolPower.refVal",
    ),
    ("em_xel", "long", "", "", "meta.number", "Char.SpectralAxis.numBins"),
    ("o_ucd", "char", "*", "", "meta.ucd", "Char.ObservableAxis.ucd"),
    (
        "pol_states",
        "char",
        "*",
        "",
        "meta.code;phys.polarization",
        "Char.PolarizationAxis.stateList",
    ),
    (
        "pol_xel",
        "long",
        "",
        "",
        "meta.number",
        "Char.PolarizationAxis.numBins",
    ),
    (
        "facility_name",
        "char",
        "*",
        "",
        "meta.id;instr.tel",
        "Provenance.ObsConfig.Facility.name",
    ),
    (
        "instrument_name",
        "char",
        "*",
        "",
        "meta.id;instr",
        "Provenance.ObsConfig.Instrument.name",
    ),
];

/// DataLink's columns (DataLink 1.1, section 3.2).
const DATALINK: &[Field] = &[
    ("ID", "char", "*", "", "meta.id;meta.main", ""),
    ("access_url", "char", "*", "", "meta.ref.url", ""),
    ("service_def", "char", "*", "", "meta.ref", ""),
    ("error_message", "char", "*", "", "meta.code.error", ""),
    ("semantics", "char", "*", "", "meta.code", ""),
    ("description", "char", "*", "", "meta.note", ""),
    ("content_type", "char", "*", "", "meta.code.mime", ""),
    ("content_length", "long", "", "byte", "phys.size;meta.file", ""),
];

fn escaped(text: &str) -> String {
    // Characters that XML 1.0 cannot hold at all are dropped.
    let legal: String = text
        .chars()
        .filter(|c| !c.is_control() || *c == '\n' || *c == '\t')
        .collect();
    quick_xml::escape::escape(legal.as_str()).into_owned()
}

fn document(resource: &str, infos: &str, fields: &[Field], rows: impl Iterator<Item = Vec<Option<String>>>) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VOTABLE version=\"1.4\" \
         xmlns=\"http://www.ivoa.net/xml/VOTable/v1.3\">\n<RESOURCE type=\"results\"{resource}>\n\
         <INFO name=\"QUERY_STATUS\" value=\"OK\"/>\n{infos}<COOSYS ID=\"icrs\" system=\"ICRS\"/>\n<TABLE>\n"
    );
    for (name, datatype, arraysize, unit, ucd, utype) in fields {
        text.push_str(&format!("<FIELD name=\"{name}\" ID=\"{name}\" datatype=\"{datatype}\""));
        for (key, value) in [("arraysize", arraysize), ("unit", unit), ("ucd", ucd)] {
            if !value.is_empty() {
                text.push_str(&format!(" {key}=\"{value}\""));
            }
        }
        if !utype.is_empty() {
            text.push_str(&format!(" utype=\"obscore:{utype}\""));
        }
        if *ucd == "pos.eq.ra" || *ucd == "pos.eq.dec" {
            text.push_str(" ref=\"icrs\"");
        }
        if matches!(*datatype, "int" | "long") {
            text.push_str("><VALUES null=\"-9999\"/></FIELD>\n");
        } else {
            text.push_str("/>\n");
        }
    }
    text.push_str("<DATA><TABLEDATA>\n");
    for row in rows {
        text.push_str("<TR>");
        for (cell, (_, datatype, ..)) in row.iter().zip(fields) {
            match (cell, *datatype) {
                (Some(value), _) => text.push_str(&format!("<TD>{}</TD>", escaped(value))),
                (None, "int" | "long") => text.push_str("<TD>-9999</TD>"),
                (None, _) => text.push_str("<TD/>"),
            }
        }
        text.push_str("</TR>\n");
    }
    text.push_str("</TABLEDATA></DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>\n");
    text
}

/// An error as the protocols want it: a VOTable whose status says so.
pub fn error(why: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VOTABLE version=\"1.4\" \
         xmlns=\"http://www.ivoa.net/xml/VOTable/v1.3\">\n<RESOURCE type=\"results\">\n\
         <INFO name=\"QUERY_STATUS\" value=\"ERROR\">{}</INFO>\n</RESOURCE>\n</VOTABLE>\n",
        escaped(why)
    )
}

fn real(value: Option<f64>) -> Option<String> {
    value.filter(|v| v.is_finite()).map(|v| v.to_string())
}

/// Products as an ObsCore table; `base` goes before relative addresses.
pub fn obscore(products: &[ObsCore], base: &str) -> String {
    let rows = products.iter().map(|p| {
        let power = match (p.em_min, p.em_max) {
            (Some(min), Some(max)) if max > min => Some(min / (max - min)),
            _ => None,
        };
        let whole = |v: Option<i64>| v.map(|v| v.to_string());
        vec![
            p.dataproduct_type.clone(),
            Some(p.calib_level.to_string()),
            Some(p.obs_collection.clone()),
            Some(p.obs_id.clone()),
            Some(p.obs_publisher_did.clone()),
            Some(format!("{base}{}", p.access_url)),
            Some(p.access_format.clone()),
            Some(p.access_estsize.to_string()),
            p.target_name.clone(),
            real(p.s_ra),
            real(p.s_dec),
            real(p.s_fov),
            p.s_region.clone(),
            real(p.s_resolution),
            whole(p.s_xel1),
            whole(p.s_xel2),
            real(p.t_min),
            real(p.t_max),
            real(p.t_exptime),
            real(p.t_exptime),
            Some("1".into()),
            real(p.em_min),
            real(p.em_max),
            real(power),
            Some("1".into()),
            p.o_ucd.clone(),
            None,
            None,
            p.facility_name.clone(),
            p.instrument_name.clone(),
        ]
    });
    document(" utype=\"obscore:obscore.1.1\"", "", OBSCORE, rows)
}

/// Something that belongs to a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The product's identifier.
    pub id: String,
    pub access_url: Option<String>,
    pub error: Option<String>,
    /// A term of the vocabulary <http://www.ivoa.net/rdf/datalink/core>, such as `#this`.
    pub semantics: &'static str,
    pub description: String,
    pub content_type: String,
    pub content_length: Option<u64>,
}

/// Links as a DataLink table.
pub fn datalink(links: &[Link], base: &str) -> String {
    let rows = links.iter().map(|link| {
        vec![
            Some(link.id.clone()),
            link.access_url.as_ref().map(|url| format!("{base}{url}")),
            None,
            link.error.clone(),
            Some(link.semantics.to_owned()),
            Some(link.description.clone()),
            Some(link.content_type.clone()),
            link.content_length.map(|n| n.to_string()),
        ]
    });
    let info = "<INFO name=\"standardID\" value=\"ivo://ivoa.net/std/DataLink#links-1.1\"/>\n";
    document("", info, DATALINK, rows)
}

/// A part of the sky: centre and radius, ICRS degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cone {
    ra: f64,
    dec: f64,
    radius: f64,
}

impl Cone {
    pub fn new(ra: f64, dec: f64, radius: f64) -> Result<Self, String> {
        if !(0.0..=360.0).contains(&ra) || !(-90.0..=90.0).contains(&dec) || !(0.0..=180.0).contains(&radius) {
            return Err(format!(
                "{ra}, {dec}, {radius}: right ascension is 0 to 360, declination -90 to 90, the radius 0 to 180 degrees"
            ));
        }
        Ok(Self { ra, dec, radius })
    }

    /// SIA 2's `POS=CIRCLE ra dec radius` (SIA 2.0, section 2.1.1); ranges and polygons are refused.
    pub fn from_pos(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let numbers: Vec<f64> = words.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
        match (words.first(), numbers.as_slice()) {
            (Some(&"CIRCLE"), [ra, dec, radius]) if words.len() == 4 => Self::new(*ra, *dec, *radius),
            _ => Err(format!("POS={text}: only CIRCLE RA DEC RADIUS is understood here")),
        }
    }

    /// Whether a product's field touches it; one without a position does not.
    pub fn holds(&self, product: &ObsCore) -> bool {
        let (Some(ra), Some(dec)) = (product.s_ra, product.s_dec) else {
            return false;
        };
        separation_deg(self.ra, self.dec, ra, dec) <= self.radius + product.s_fov.unwrap_or(0.0) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_thirty_columns_of_the_standard() {
        assert_eq!(OBSCORE.len(), 30);
        assert!(obscore(&[], "").contains("QUERY_STATUS\" value=\"OK\""));
    }

    #[test]
    fn positions_out_of_range_and_unknown_shapes_are_refused() {
        assert!(Cone::from_pos("CIRCLE 10 20 1").is_ok());
        for bad in [
            "",
            "CIRCLE 10 20",
            "CIRCLE 400 0 1",
            "CIRCLE 1 2 3 4",
            "RANGE 0 1 0 1",
            "CIRCLE nan 0 1",
        ] {
            assert!(Cone::from_pos(bad).is_err(), "{bad:?}");
        }
        assert!(error("<x>").contains("&lt;x&gt;"));
    }
}
