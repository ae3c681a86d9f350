//! The numbered notices of NASA's General Coordinates Network: what each number is called and means.
//!
//! Numbers and names: GCN's table of notice types (gcn.gsfc.nasa.gov/filtering.html), SVOM's from its notice
//! documentation. Error meanings: the notice descriptions of each mission on GCN. A number that is not here is an
//! unknown kind: kept and, without more, judged by its fields alone.

use crate::notice::{Class, Flag, TimeKind};

/// What is known of one numbered kind of notice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoticeKind {
    /// The number, `Packet_Type`.
    pub code: u32,
    /// GCN's name.
    pub name: &'static str,
    /// House stream, `mission/instrument/kind`.
    pub stream: &'static str,
    /// What happened.
    pub class: Class,
    /// What the notice's time is.
    pub time: TimeKind,
    /// Meaning of the error radius.
    pub error: ErrorMeaning,
    /// Mark that always holds for this kind.
    pub flag: Option<Flag>,
}

/// What the stated error radius means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorMeaning {
    /// 90 % containment.
    R90,
    /// 68 %, statistical only (Fermi GBM).
    Statistical68,
    /// Not documented.
    Unstated,
}

use Class::{GravitationalWave as Gw, Grb, Neutrino as Nu, Optical as Opt, Unknown as Any};
use ErrorMeaning::{R90, Statistical68 as Stat, Unstated as Raw};
use Flag::{
    CatalogueSource as Known, LineControl as Line, NotASource as NoSource, PositionUnreliable as NoPos,
    SubThreshold as Sub,
};
use TimeKind::{FollowUp as F, Trigger as T, Unknown as U};

const fn kind(
    code: u32,
    name: &'static str,
    stream: &'static str,
    class: Class,
    time: TimeKind,
    error: ErrorMeaning,
) -> NoticeKind {
    NoticeKind {
        code,
        name,
        stream,
        class,
        time,
        error,
        flag: None,
    }
}

const fn flagged(mut kind: NoticeKind, flag: Flag) -> NoticeKind {
    kind.flag = Some(flag);
    kind
}

/// The table, by number.
pub const KINDS: &[NoticeKind] = &[
    kind(1, "GRB_COORDS", "batse/grb/original", Grb, T, Raw),
    flagged(kind(2, "TEST_COORDS", "gcn/test/coords", Any, U, Raw), Line),
    flagged(kind(3, "IM_ALIVE", "gcn/line/im_alive", Any, U, Raw), Line),
    flagged(kind(4, "KILL_SOCKET", "gcn/line/kill_socket", Any, U, Raw), Line),
    kind(11, "MAXBC", "batse/grb/maxbc", Grb, T, Raw),
    kind(21, "BRAD_COORDS", "batse/grb/brad", Grb, T, Raw),
    kind(22, "GRB_FINAL", "batse/grb/final", Grb, T, Raw),
    kind(24, "HUNTS_SRC", "batse/grb/huntsville", Grb, T, Raw),
    kind(25, "ALEXIS_SRC", "alexis/src/pos", Grb, T, Raw),
    kind(26, "XTE_PCA_ALERT", "xte/pca/alert", Grb, T, Raw),
    kind(27, "XTE_PCA_SRC", "xte/pca/pos", Grb, F, Raw),
    kind(28, "XTE_ASM_ALERT", "xte/asm/alert", Grb, T, Raw),
    kind(29, "XTE_ASM_SRC", "xte/asm/pos", Grb, F, Raw),
    kind(30, "COMPTEL_SRC", "comptel/src/pos", Grb, T, Raw),
    flagged(kind(31, "IPN_RAW", "ipn/raw/time", Grb, T, Raw), NoPos),
    kind(32, "IPN_SEG", "ipn/seg/pos", Grb, T, Raw),
    kind(33, "SAX_WFC_ALERT", "sax/wfc/alert", Grb, T, Raw),
    kind(34, "SAX_WFC_SRC", "sax/wfc/pos", Grb, T, Raw),
    kind(35, "SAX_NFI_ALERT", "sax/nfi/alert", Grb, F, Raw),
    kind(36, "SAX_NFI_SRC", "sax/nfi/pos", Grb, F, Raw),
    kind(37, "XTE_ASM_TRANS", "xte/asm/trans", Any, U, Raw),
    kind(39, "IPN_POS", "ipn/pos/pos", Grb, T, Raw),
    kind(40, "HETE_ALERT_SRC", "hete/src/alert", Grb, T, Raw),
    kind(41, "HETE_UPDATE_SRC", "hete/src/update", Grb, T, R90),
    kind(42, "HETE_FINAL_SRC", "hete/src/final", Grb, T, R90),
    kind(43, "HETE_GNDANA_SRC", "hete/src/ground", Grb, T, R90),
    kind(44, "HETE_TEST", "hete/src/test", Grb, T, Raw),
    kind(45, "GRB_CNTRPART", "gcn/grb/counterpart", Grb, F, Raw),
    flagged(kind(46, "SWIFT_TOO_FOM", "swift/too/fom", Any, U, Raw), NoSource),
    flagged(kind(47, "SWIFT_TOO_SC_SLEW", "swift/too/slew", Any, U, Raw), NoSource),
    flagged(kind(48, "DOW_TOD", "gcn/test/dow_tod", Any, U, Raw), Line),
    flagged(
        kind(51, "INTEGRAL_POINTDIR", "integral/spacecraft/pointdir", Any, U, Raw),
        NoSource,
    ),
    flagged(kind(52, "INTEGRAL_SPIACS", "integral/spiacs/lc", Grb, T, Raw), NoPos),
    kind(53, "INTEGRAL_WAKEUP", "integral/ibis/wakeup", Grb, T, R90),
    kind(54, "INTEGRAL_REFINED", "integral/ibis/refined", Grb, T, R90),
    kind(55, "INTEGRAL_OFFLINE", "integral/ibis/offline", Grb, T, R90),
    flagged(kind(56, "INTEGRAL_WEAK", "integral/ibis/weak", Grb, T, R90), Sub),
    kind(57, "AAVSO", "aavso/star/pos", Opt, U, Raw),
    kind(58, "MILAGRO_POS", "milagro/src/pos", Grb, T, Raw),
    flagged(kind(59, "KONUS_LC", "konus/lc/lc", Grb, T, Raw), NoPos),
    flagged(kind(60, "SWIFT_BAT_GRB_ALERT", "swift/bat/alert", Grb, T, Raw), NoPos),
    kind(61, "SWIFT_BAT_GRB_POS_ACK", "swift/bat/grb_pos", Grb, T, R90),
    flagged(
        kind(62, "SWIFT_BAT_GRB_POS_NACK", "swift/bat/pos_nack", Grb, T, Raw),
        NoSource,
    ),
    flagged(kind(63, "SWIFT_BAT_GRB_LC", "swift/bat/lc", Grb, T, Raw), NoSource),
    flagged(
        kind(64, "SWIFT_BAT_SCALEDMAP", "swift/bat/scaledmap", Grb, T, Raw),
        NoSource,
    ),
    flagged(kind(65, "SWIFT_FOM_OBS", "swift/spacecraft/fom", Grb, U, Raw), NoSource),
    flagged(
        kind(66, "SWIFT_SC_SLEW", "swift/spacecraft/slew", Grb, U, Raw),
        NoSource,
    ),
    kind(67, "SWIFT_XRT_POSITION", "swift/xrt/pos", Grb, F, R90),
    flagged(
        kind(68, "SWIFT_XRT_SPECTRUM", "swift/xrt/spectrum", Grb, F, Raw),
        NoSource,
    ),
    flagged(kind(69, "SWIFT_XRT_IMAGE", "swift/xrt/image", Grb, F, Raw), NoSource),
    flagged(kind(70, "SWIFT_XRT_LC", "swift/xrt/lc", Grb, F, Raw), NoSource),
    flagged(
        kind(71, "SWIFT_XRT_CENTROID", "swift/xrt/pos_nack", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(72, "SWIFT_UVOT_DBURST", "swift/uvot/dark_burst", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(73, "SWIFT_UVOT_FCHART", "swift/uvot/fchart", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(76, "SWIFT_BAT_GRB_LC_PROC", "swift/bat/lc_processed", Grb, T, Raw),
        NoSource,
    ),
    flagged(
        kind(
            77,
            "SWIFT_XRT_SPECTRUM_PROC",
            "swift/xrt/spectrum_processed",
            Grb,
            F,
            Raw,
        ),
        NoSource,
    ),
    flagged(
        kind(78, "SWIFT_XRT_IMAGE_PROC", "swift/xrt/image_processed", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(
            79,
            "SWIFT_UVOT_DBURST_PROC",
            "swift/uvot/dark_burst_processed",
            Grb,
            F,
            Raw,
        ),
        NoSource,
    ),
    flagged(
        kind(80, "SWIFT_UVOT_FCHART_PROC", "swift/uvot/fchart_processed", Grb, F, Raw),
        NoSource,
    ),
    kind(81, "SWIFT_UVOT_POS", "swift/uvot/pos", Grb, F, R90),
    kind(82, "SWIFT_BAT_GRB_POS_TEST", "swift/bat/test", Grb, T, Raw),
    flagged(
        kind(83, "SWIFT_POINTDIR", "swift/spacecraft/pointdir", Any, U, Raw),
        NoSource,
    ),
    flagged(kind(84, "SWIFT_BAT_TRANS", "swift/bat/trans", Any, U, R90), Known),
    flagged(
        kind(85, "SWIFT_XRT_THRESHPIX", "swift/xrt/threshpix", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(
            86,
            "SWIFT_XRT_THRESHPIX_PROC",
            "swift/xrt/threshpix_processed",
            Grb,
            F,
            Raw,
        ),
        NoSource,
    ),
    flagged(kind(87, "SWIFT_XRT_SPER", "swift/xrt/sper", Grb, F, Raw), NoSource),
    flagged(
        kind(88, "SWIFT_XRT_SPER_PROC", "swift/xrt/sper_processed", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(89, "SWIFT_UVOT_POS_NACK", "swift/uvot/pos_nack", Grb, F, Raw),
        NoSource,
    ),
    flagged(
        kind(90, "SWIFT_BAT_ALARM_SHORT", "swift/bat/alarm_short", Any, U, Raw),
        NoSource,
    ),
    flagged(
        kind(91, "SWIFT_BAT_ALARM_LONG", "swift/bat/alarm_long", Any, U, Raw),
        NoSource,
    ),
    flagged(
        kind(92, "SWIFT_UVOT_EMERGENCY", "swift/uvot/emergency", Any, U, Raw),
        NoSource,
    ),
    flagged(
        kind(93, "SWIFT_XRT_EMERGENCY", "swift/xrt/emergency", Any, U, Raw),
        NoSource,
    ),
    flagged(
        kind(94, "SWIFT_FOM_PPT_ARG_ERR", "swift/spacecraft/fom_arg", Any, U, Raw),
        NoSource,
    ),
    flagged(
        kind(95, "SWIFT_FOM_SAFE_POINT", "swift/spacecraft/fom_safe", Any, U, Raw),
        NoSource,
    ),
    flagged(
        kind(96, "SWIFT_FOM_SLEW_ABORT", "swift/spacecraft/fom_abort", Any, U, Raw),
        NoSource,
    ),
    kind(97, "SWIFT_BAT_QL_POS", "swift/bat/ql_pos", Grb, T, R90),
    flagged(
        kind(98, "SWIFT_BAT_SUB_THRESHOLD", "swift/bat/subthresh", Grb, T, R90),
        Sub,
    ),
    flagged(kind(99, "SWIFT_BAT_SLEW_POS", "swift/bat/slew_pos", Grb, T, R90), Sub),
    kind(100, "AGILE_GRB_WAKEUP", "agile/grb/wakeup", Grb, T, Raw),
    kind(101, "AGILE_GRB_GROUND", "agile/grb/ground", Grb, T, Raw),
    kind(102, "AGILE_GRB_REFINED", "agile/grb/refined", Grb, T, Raw),
    flagged(
        kind(
            103,
            "SWIFT_ACTUAL_POINTDIR",
            "swift/spacecraft/actual_pointdir",
            Any,
            U,
            Raw,
        ),
        NoSource,
    ),
    flagged(kind(105, "AGILE_MCAL_ALERT", "agile/mcal/alert", Grb, T, Raw), NoPos),
    flagged(
        kind(107, "AGILE_POINTDIR", "agile/spacecraft/pointdir", Any, U, Raw),
        NoSource,
    ),
    flagged(kind(108, "AGILE_TRANS", "agile/grid/trans", Any, U, Raw), Known),
    kind(109, "AGILE_GRB_POS_TEST", "agile/grb/test", Grb, T, Raw),
    flagged(kind(110, "FERMI_GBM_ALERT", "fermi/gbm/alert", Grb, T, Stat), NoPos),
    kind(111, "FERMI_GBM_FLT_POS", "fermi/gbm/flt_pos", Grb, T, Stat),
    kind(112, "FERMI_GBM_GND_POS", "fermi/gbm/gnd_pos", Grb, T, Stat),
    flagged(kind(113, "FERMI_GBM_LC", "fermi/gbm/lc", Grb, T, Stat), NoSource),
    kind(114, "FERMI_GBM_GND_INTERNAL", "fermi/gbm/gnd_internal", Grb, T, Stat),
    kind(115, "FERMI_GBM_FIN_POS", "fermi/gbm/fin_pos", Grb, T, Stat),
    flagged(
        kind(
            116,
            "FERMI_GBM_ALERT_INTERNAL",
            "fermi/gbm/alert_internal",
            Grb,
            T,
            Stat,
        ),
        NoPos,
    ),
    kind(117, "FERMI_GBM_FLT_INTERNAL", "fermi/gbm/flt_internal", Grb, T, Stat),
    flagged(kind(118, "FERMI_GBM_TRANS", "fermi/gbm/trans", Any, U, Stat), Known),
    kind(119, "FERMI_GBM_POS_TEST", "fermi/gbm/test", Grb, T, Stat),
    kind(120, "FERMI_LAT_POS_INI", "fermi/lat/pos_ini", Grb, T, R90),
    kind(121, "FERMI_LAT_POS_UPD", "fermi/lat/pos_upd", Grb, T, R90),
    flagged(
        kind(122, "FERMI_LAT_POS_DIAG", "fermi/lat/pos_diag", Grb, T, R90),
        NoSource,
    ),
    flagged(kind(123, "FERMI_LAT_TRANS", "fermi/lat/trans", Any, U, R90), Known),
    kind(124, "FERMI_LAT_POS_TEST", "fermi/lat/test", Grb, T, R90),
    flagged(kind(125, "FERMI_LAT_MONITOR", "fermi/lat/monitor", Any, U, R90), Known),
    flagged(
        kind(126, "FERMI_SC_SLEW", "fermi/spacecraft/slew", Any, U, Raw),
        NoSource,
    ),
    kind(127, "FERMI_LAT_GND", "fermi/lat/gnd", Grb, T, R90),
    kind(128, "FERMI_LAT_OFFLINE", "fermi/lat/offline", Grb, T, R90),
    flagged(
        kind(129, "FERMI_POINTDIR", "fermi/spacecraft/pointdir", Any, U, Raw),
        NoSource,
    ),
    flagged(kind(130, "SIMBADNED", "gcn/simbadned/list", Any, U, Raw), NoSource),
    flagged(
        kind(131, "FERMI_GBM_SUBTHRESH", "fermi/gbm/subthresh", Grb, T, Stat),
        Sub,
    ),
    flagged(kind(133, "SWIFT_BAT_MONITOR", "swift/bat/monitor", Any, U, R90), Known),
    kind(134, "MAXI_UNKNOWN", "maxi/gsc/unknown", Grb, T, R90),
    flagged(kind(135, "MAXI_KNOWN", "maxi/gsc/known", Any, T, R90), Known),
    kind(136, "MAXI_TEST", "maxi/gsc/test", Any, T, R90),
    kind(137, "OGLE", "ogle/ews/lensing", Opt, U, Raw),
    kind(138, "CBAT", "cbat/nova/pos", Opt, U, Raw),
    kind(139, "MOA", "moa/lensing/pos", Opt, F, Raw),
    flagged(kind(140, "SWIFT_BAT_SUBSUB", "swift/bat/subsub", Grb, T, R90), Sub),
    flagged(
        kind(141, "SWIFT_BAT_KNOWN_SRC", "swift/bat/known_src", Any, T, R90),
        Known,
    ),
    flagged(
        kind(142, "VOE_11_IM_ALIVE", "gcn/line/voe_11_im_alive", Any, U, Raw),
        Line,
    ),
    flagged(
        kind(143, "VOE_20_IM_ALIVE", "gcn/line/voe_20_im_alive", Any, U, Raw),
        Line,
    ),
    flagged(
        kind(
            144,
            "FERMI_SC_SLEW_INTERNAL",
            "fermi/spacecraft/slew_internal",
            Any,
            U,
            Raw,
        ),
        NoSource,
    ),
    flagged(kind(145, "COINCIDENCE", "gcn/coincidence/pair", Any, T, Raw), Sub),
    kind(146, "FERMI_GBM_FIN_INTERNAL", "fermi/gbm/fin_internal", Grb, T, Stat),
    flagged(kind(148, "SUZAKU_LC", "suzaku/wam/lc", Grb, T, Raw), NoPos),
    kind(149, "SNEWS", "snews/coinc/alert", Nu, T, Raw),
    kind(150, "LVC_PRELIMINARY", "lvk/gw/preliminary", Gw, T, R90),
    kind(151, "LVC_INITIAL", "lvk/gw/initial", Gw, T, R90),
    kind(152, "LVC_UPDATE", "lvk/gw/update", Gw, T, R90),
    kind(153, "LVC_TEST", "lvk/gw/test", Gw, T, R90),
    flagged(kind(154, "LVC_COUNTERPART", "lvk/gw/counterpart", Gw, F, Raw), NoSource),
    flagged(kind(157, "AMON_ICECUBE_COINC", "icecube/amon/coinc", Nu, T, Raw), Sub),
    kind(158, "AMON_ICECUBE_HESE", "icecube/amon/hese", Nu, T, Raw),
    kind(159, "AMON_ICECUBE_TEST", "icecube/amon/test", Nu, T, Raw),
    flagged(kind(160, "CALET_GBM_FLT_LC", "calet/gbm/flt_lc", Grb, T, Raw), NoPos),
    flagged(kind(161, "CALET_GBM_GND_LC", "calet/gbm/gnd_lc", Grb, T, Raw), NoPos),
    kind(163, "LVC_EARLY_WARNING", "lvk/gw/earlywarning", Gw, T, R90),
    kind(164, "LVC_RETRACTION", "lvk/gw/retraction", Gw, T, R90),
    flagged(
        kind(166, "AMON_ICECUBE_CLUSTER", "icecube/amon/cluster", Nu, T, Raw),
        Sub,
    ),
    flagged(kind(168, "GWHEN_COINC", "amon/gwhen/coinc", Any, T, Raw), Sub),
    kind(169, "AMON_ICECUBE_EHE", "icecube/amon/ehe", Nu, T, Raw),
    flagged(
        kind(170, "AMON_ANTARES_FERMILAT_COINC", "amon/antares_lat/coinc", Nu, T, Raw),
        Sub,
    ),
    kind(171, "HAWC_BURST_MONITOR", "hawc/burst/monitor", Grb, T, Raw),
    kind(172, "AMON_NU_EM_COINC", "amon/nu_em/coinc", Nu, T, R90),
    kind(173, "ICECUBE_ASTROTRACK_GOLD", "icecube/track/gold", Nu, T, R90),
    kind(174, "ICECUBE_ASTROTRACK_BRONZE", "icecube/track/bronze", Nu, T, R90),
    kind(175, "SK_SN", "superk/sn/alert", Nu, T, Raw),
    kind(176, "ICECUBE_CASCADE", "icecube/cascade/cascade", Nu, T, R90),
    kind(188, "GECAM_FLT", "gecam/grd/flt", Grb, T, Raw),
    kind(189, "GECAM_GND", "gecam/grd/gnd", Grb, T, Raw),
    kind(199, "SVOM_GRM_PRELIMINARY", "svom/grm/preliminary", Grb, T, R90),
    kind(200, "SVOM_ECLAIRS_PRELIMINARY", "svom/eclairs/preliminary", Grb, T, R90),
    kind(201, "SVOM_GRM_TRIGGER", "svom/grm/trigger", Grb, T, R90),
    kind(202, "SVOM_ECLAIRS_WAKEUP", "svom/eclairs/wakeup", Grb, T, R90),
    flagged(
        kind(203, "SVOM_ECLAIRS_CATALOG", "svom/eclairs/catalog", Any, U, R90),
        Known,
    ),
    kind(204, "SVOM_SLEWING", "svom/eclairs/slewing", Grb, F, R90),
    kind(205, "SVOM_NOT_SLEWING", "svom/eclairs/not_slewing", Grb, F, R90),
    kind(209, "SVOM_MXT_INITIAL", "svom/mxt/initial", Grb, F, R90),
    kind(210, "SVOM_MXT_UPDATE", "svom/mxt/update", Grb, F, R90),
    kind(211, "SVOM_VT", "svom/vt/pos", Grb, F, R90),
    kind(219, "SVOM_RETRACTION", "svom/retraction/retraction", Grb, T, R90),
];

/// The kind of that number.
#[must_use]
pub fn by_code(code: u32) -> Option<&'static NoticeKind> {
    KINDS
        .binary_search_by_key(&code, |k| k.code)
        .ok()
        .and_then(|i| KINDS.get(i))
}

/// The kind of that name, whatever its case.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static NoticeKind> {
    KINDS.iter().find(|k| k.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_and_every_stream_has_three_parts() {
        assert!(KINDS.is_sorted_by(|a, b| a.code < b.code));
        for kind in KINDS {
            assert_eq!(
                kind.stream.split('/').filter(|p| !p.is_empty()).count(),
                3,
                "{}",
                kind.name
            );
            assert_eq!(by_code(kind.code), Some(kind));
            assert_eq!(by_name(&kind.name.to_lowercase()), Some(kind));
        }
    }
}
