//! astrometry.net's `solve-field` as a second engine: an external command, with its own indexes, when it is installed.

use crate::astrometry::{Hint, Wcs};
use alidade_fits::{Header, Image};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

/// Seconds of processor time that it may take.
const CPU_S: &str = "60";

/// A folder that ends with its scope.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("alidade-solve-field-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It holds nothing but what was made here.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Solves a file; the error says why not.
pub fn solve_file(path: &Path, hint: &Hint) -> Result<Wcs, String> {
    run(Path::new("solve-field"), path, hint)
}

fn run(program: &Path, path: &Path, hint: &Hint) -> Result<Wcs, String> {
    let folder = Folder::new().map_err(|e| e.to_string())?;
    let solution = folder.0.join("solution.wcs");
    let mut command = Command::new(program);
    command
        .args([
            "--overwrite",
            "--no-plots",
            "--no-verify",
            "--cpulimit",
            CPU_S,
            "--new-fits",
            "none",
        ])
        .arg("--dir")
        .arg(&folder.0)
        .arg("--wcs")
        .arg(&solution);
    if let Some((ra, dec, radius)) = hint.position {
        let words = [ra, dec, radius].map(|v| v.to_string());
        command.args(["--ra", &words[0], "--dec", &words[1], "--radius", &words[2]]);
    }
    if let Some((low, high)) = hint.scale {
        let (low, high) = (low.to_string(), high.to_string());
        command.args([
            "--scale-units",
            "arcsecperpix",
            "--scale-low",
            &low,
            "--scale-high",
            &high,
        ]);
    }
    let output = command
        .arg(path)
        .output()
        .map_err(|e| format!("{} cannot be run: {e}", program.display()))?;
    let header = std::fs::read(&solution).ok().and_then(|b| Header::parse(&b).ok());
    header.and_then(|(h, _)| Wcs::read(&h)).ok_or_else(|| {
        let why = if output.status.success() {
            "no solution"
        } else {
            "solve-field failed"
        };
        why.to_owned()
    })
}

/// Solves a frame in memory, within a degree of where its header has it.
pub fn solve(header: &Header, image: &Image) -> Result<Wcs, String> {
    let folder = Folder::new().map_err(|e| e.to_string())?;
    let path = folder.0.join("frame.fits");
    let bytes = alidade_fits::write_f32(header, image).map_err(|e| e.to_string())?;
    std::fs::write(&path, bytes).map_err(|e| e.to_string())?;
    let guess = Wcs::read(header);
    let hint = guess.map_or_else(Hint::default, |wcs| {
        let ((ra, dec), _) = wcs.circle(image.width, image.height);
        Hint {
            position: Some((ra, dec, 1.0)),
            scale: Some((0.95 * wcs.scale_arcsec(), 1.05 * wcs.scale_arcsec())),
            orientation: None,
        }
    });
    solve_file(&path, &hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that does with its `--wcs` what the script says.
    fn program(folder: &Folder, body: &str) -> PathBuf {
        let path = folder.0.join("engine");
        let script = format!("#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --wcs ] && out=$2; shift; done\n{body}\n");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn what_the_engine_writes_is_read_and_what_it_does_not_is_said() {
        let folder = Folder::new().unwrap();
        let wcs = Wcs {
            crval: (150.0, 30.0),
            crpix: (500.0, 500.0),
            cd: [[-3e-4, 0.0], [0.0, 3e-4]],
            sip: None,
        };
        let mut header = Header::new();
        wcs.write(&mut header, 1000, 1000);
        let made = folder.0.join("made.wcs");
        std::fs::write(&made, alidade_fits::write_header_only(&header)).unwrap();
        let frame = folder.0.join("frame.fits");
        let good = program(&folder, &format!("cp {} \"$out\"", made.display()));
        let found = run(&good, &frame, &Hint::default()).unwrap();
        assert!((found.crval.0 - 150.0).abs() < 1e-6 && (found.scale_arcsec() - 1.08).abs() < 1e-6);
        assert_eq!(
            run(&program(&folder, "true"), &frame, &Hint::default()).unwrap_err(),
            "no solution"
        );
        assert_eq!(
            run(&program(&folder, "false"), &frame, &Hint::default()).unwrap_err(),
            "solve-field failed"
        );
        let missing = run(Path::new("/nonexistent/engine"), &frame, &Hint::default()).unwrap_err();
        assert!(missing.contains("cannot be run"), "{missing}");
    }
}
