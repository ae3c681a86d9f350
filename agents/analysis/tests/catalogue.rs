//! From a package of Debian to a solved frame: the index of the installed catalogue, and a real frame solved by it.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod support;

use alidade_analysis::astrometry::stars::separation;
use alidade_analysis::command::{self, CommandError, SolveHints};
use std::path::Path;
use support::Folder;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
/// Where astrometry.net's solve-field, with the package's own files, has the middle of the frame, and its scale.
const CENTRE: (f64, f64) = (303.210_96, 46.019_55);
const SCALE_ARCSEC: f64 = 10.3034;

#[test]
fn a_real_frame_without_coordinates_is_solved_with_what_a_package_installs() {
    let folder = Folder::new("package");
    let index = folder.0.join("stars.idx");
    // A folder, as /usr/share/astrometry is one.
    let made = command::build_index(Path::new(DATA), None, &index).unwrap();
    assert_eq!(made["stars"], 879);
    assert_eq!(made["name"], "index-tycho2-07-cygnus");
    let frame = Path::new(DATA).join("pocs-unsolved.fits.fz");
    let blind = SolveHints::default();
    let hinted = SolveHints {
        ra_deg: Some(302.9),
        dec_deg: Some(46.3),
        scale_arcsec: Some(10.2),
        ..SolveHints::default()
    };
    let solved = folder.0.join("solved.fits");
    for hints in [blind, hinted] {
        let answer = command::solve_file(&frame, &index, &hints, 3, Some(&solved)).unwrap();
        assert_eq!(answer["solved"], true, "{answer}");
        let number = |key: &str| answer[key].as_f64().unwrap();
        let off = separation(number("ra_deg"), number("dec_deg"), CENTRE.0, CENTRE.1) * 3600.0;
        assert!(off < 2.0 * SCALE_ARCSEC, "{off} arcsec: {answer}");
        assert!((number("scale_arcsec") / SCALE_ARCSEC - 1.0).abs() < 1e-3, "{answer}");
        assert!(number("matched") >= 30.0 && number("rms_px") < 0.7, "{answer}");
    }
    // What was written is solved for whoever reads it next.
    let again = command::solve_file(&solved, &index, &SolveHints::default(), 3, None).unwrap();
    assert_eq!(again["header_wcs_wrong"], false, "{again}");
}

#[test]
fn a_folder_without_a_catalogue_says_what_to_install() {
    let folder = Folder::new("no-package");
    std::fs::write(folder.0.join("notes.txt"), "nothing").unwrap();
    let error = command::build_index(&folder.0, None, &folder.0.join("stars.idx")).unwrap_err();
    assert!(
        matches!(&error, CommandError::BadInput(text) if text.contains("astrometry-data-tycho2-07-littleendian")),
        "{error}"
    );
    std::fs::write(folder.0.join("index.fits"), "broken").unwrap();
    assert!(command::build_index(&folder.0, None, &folder.0.join("stars.idx")).is_err());
}
