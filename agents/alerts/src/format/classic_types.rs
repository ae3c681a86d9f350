//! Which numbered kind a text notice is, told by the words of its type.
//!
//! The types are written for people and vary in their spelling (`Fermi-GBM Flight Position`, `INTEGRAL Wakeup`,
//! `ICECUBE Astrotrack Gold`); what every spelling of a kind has in common are a few words.

use super::gcn_types::{NoticeKind, by_name};

/// Words that must all be there, and the kind; the first line that fits holds.
const WORDS: &[(&[&str], &str)] = &[
    (&["swift", "pointing"], "SWIFT_POINTDIR"),
    (&["swift", "pointdir"], "SWIFT_POINTDIR"),
    (&["swift", "fom"], "SWIFT_FOM_OBS"),
    (&["swift", "slew", "pos"], "SWIFT_BAT_SLEW_POS"),
    (&["swift", "slew"], "SWIFT_SC_SLEW"),
    (&["swift", "bat", "test"], "SWIFT_BAT_GRB_POS_TEST"),
    (&["swift", "bat", "lightcurve"], "SWIFT_BAT_GRB_LC"),
    (&["swift", "bat", "light", "curve"], "SWIFT_BAT_GRB_LC"),
    (&["swift", "bat", "scaled"], "SWIFT_BAT_SCALEDMAP"),
    (&["swift", "bat", "nack"], "SWIFT_BAT_GRB_POS_NACK"),
    (&["swift", "bat", "sub", "sub-"], "SWIFT_BAT_SUBSUB"),
    (&["swift", "bat", "subsub"], "SWIFT_BAT_SUBSUB"),
    (&["swift", "bat", "sub", "thresh"], "SWIFT_BAT_SUB_THRESHOLD"),
    (&["swift", "bat", "known"], "SWIFT_BAT_KNOWN_SRC"),
    (&["swift", "bat", "monitor"], "SWIFT_BAT_MONITOR"),
    (&["swift", "bat", "trans"], "SWIFT_BAT_TRANS"),
    (&["swift", "bat", "quick"], "SWIFT_BAT_QL_POS"),
    (&["swift", "bat", "alert"], "SWIFT_BAT_GRB_ALERT"),
    (&["swift", "bat", "position"], "SWIFT_BAT_GRB_POS_ACK"),
    (&["swift", "xrt", "nack"], "SWIFT_XRT_CENTROID"),
    (&["swift", "xrt", "position"], "SWIFT_XRT_POSITION"),
    (&["swift", "xrt", "spectrum"], "SWIFT_XRT_SPECTRUM"),
    (&["swift", "xrt", "image"], "SWIFT_XRT_IMAGE"),
    (&["swift", "xrt", "lightcurve"], "SWIFT_XRT_LC"),
    (&["swift", "xrt", "thresh"], "SWIFT_XRT_THRESHPIX"),
    (&["swift", "xrt"], "SWIFT_XRT_SPER"),
    (&["swift", "uvot", "nack"], "SWIFT_UVOT_POS_NACK"),
    (&["swift", "uvot", "position"], "SWIFT_UVOT_POS"),
    (&["swift", "uvot", "image"], "SWIFT_UVOT_DBURST"),
    (&["swift", "uvot"], "SWIFT_UVOT_FCHART"),
    (&["fermi", "gbm", "test"], "FERMI_GBM_POS_TEST"),
    (&["fermi", "gbm", "lightcurve"], "FERMI_GBM_LC"),
    (&["fermi", "gbm", "sub"], "FERMI_GBM_SUBTHRESH"),
    (&["fermi", "gbm", "alert"], "FERMI_GBM_ALERT"),
    (&["fermi", "gbm", "flight"], "FERMI_GBM_FLT_POS"),
    (&["fermi", "gbm", "ground"], "FERMI_GBM_GND_POS"),
    (&["fermi", "gbm", "final"], "FERMI_GBM_FIN_POS"),
    (&["fermi", "gbm", "trans"], "FERMI_GBM_TRANS"),
    (&["fermi", "lat", "test"], "FERMI_LAT_POS_TEST"),
    (&["fermi", "lat", "init"], "FERMI_LAT_POS_INI"),
    (&["fermi", "lat", "upd"], "FERMI_LAT_POS_UPD"),
    (&["fermi", "lat", "diag"], "FERMI_LAT_POS_DIAG"),
    (&["fermi", "lat", "monitor"], "FERMI_LAT_MONITOR"),
    (&["fermi", "lat", "trans"], "FERMI_LAT_TRANS"),
    (&["fermi", "lat", "offline"], "FERMI_LAT_OFFLINE"),
    (&["fermi", "lat", "ground"], "FERMI_LAT_GND"),
    (&["fermi", "slew"], "FERMI_SC_SLEW"),
    (&["fermi", "point"], "FERMI_POINTDIR"),
    (&["integral", "point"], "INTEGRAL_POINTDIR"),
    (&["integral", "spi"], "INTEGRAL_SPIACS"),
    (&["integral", "wakeup"], "INTEGRAL_WAKEUP"),
    (&["integral", "refined"], "INTEGRAL_REFINED"),
    (&["integral", "offline"], "INTEGRAL_OFFLINE"),
    (&["integral", "weak"], "INTEGRAL_WEAK"),
    (&["maxi", "unknown"], "MAXI_UNKNOWN"),
    (&["maxi", "known"], "MAXI_KNOWN"),
    (&["maxi", "test"], "MAXI_TEST"),
    (&["gold"], "ICECUBE_ASTROTRACK_GOLD"),
    (&["bronze"], "ICECUBE_ASTROTRACK_BRONZE"),
    (&["icecube", "cascade"], "ICECUBE_CASCADE"),
    (&["icecube", "hese"], "AMON_ICECUBE_HESE"),
    (&["icecube", "ehe"], "AMON_ICECUBE_EHE"),
    (&["hawc"], "HAWC_BURST_MONITOR"),
    (&["amon", "coinc"], "AMON_NU_EM_COINC"),
    (&["nu_em", "coinc"], "AMON_NU_EM_COINC"),
    (&["lvc", "early"], "LVC_EARLY_WARNING"),
    (&["lvc", "prelim"], "LVC_PRELIMINARY"),
    (&["lvc", "initial"], "LVC_INITIAL"),
    (&["lvc", "update"], "LVC_UPDATE"),
    (&["lvc", "retraction"], "LVC_RETRACTION"),
    (&["lvc", "counterpart"], "LVC_COUNTERPART"),
    (&["gecam", "fl"], "GECAM_FLT"),
    (&["gecam", "gr"], "GECAM_GND"),
    (&["calet", "fl"], "CALET_GBM_FLT_LC"),
    (&["calet"], "CALET_GBM_GND_LC"),
    (&["konus"], "KONUS_LC"),
    (&["ipn", "raw"], "IPN_RAW"),
    (&["ipn", "seg"], "IPN_SEG"),
    (&["ipn"], "IPN_POS"),
    (&["snews"], "SNEWS"),
    (&["sk_sn"], "SK_SN"),
    (&["super-k"], "SK_SN"),
    (&["agile", "mcal"], "AGILE_MCAL_ALERT"),
    (&["agile", "ground"], "AGILE_GRB_GROUND"),
    (&["agile", "refined"], "AGILE_GRB_REFINED"),
    (&["agile", "wakeup"], "AGILE_GRB_WAKEUP"),
    (&["counterpart"], "GRB_CNTRPART"),
];

/// The kind of a notice of that type, `None` for one that is not known.
pub(super) fn kind_of(notice_type: &str) -> Option<&'static NoticeKind> {
    if let Some(kind) = by_name(notice_type.trim()) {
        return Some(kind);
    }
    let lower = notice_type.to_ascii_lowercase();
    let fits = |words: &&(&[&str], &str)| words.0.iter().all(|word| lower.contains(word));
    WORDS.iter().find(fits).and_then(|(_, name)| by_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_is_named_is_in_the_table_and_reached() {
        for (words, name) in WORDS {
            assert!(by_name(name).is_some(), "{name}");
            assert!(kind_of(&words.join(" ")).is_some(), "{name}");
        }
        for (text, name) in [
            ("Fermi-GBM Final Position", "FERMI_GBM_FIN_POS"),
            ("Swift-BAT GRB Position", "SWIFT_BAT_GRB_POS_ACK"),
            ("MAXI Known Source Position", "MAXI_KNOWN"),
            ("MAXI Unknown Source Position", "MAXI_UNKNOWN"),
            ("AMON_NU_EM_COINC", "AMON_NU_EM_COINC"),
        ] {
            assert_eq!(kind_of(text).map(|k| k.name), Some(name));
        }
        assert_eq!(kind_of("Something new"), None);
    }
}
