//! The configuration files of the repository, good and bad.

use alidade::settings::{Link, Settings};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn load(name: &str) -> Settings {
    Settings::load_with(&config(name), BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_commented_configuration_is_valid() {
    let settings = load("alidade.toml");
    assert_eq!(settings.site.name, "ohp");
    assert_eq!(settings.devices.len(), 8);
    assert_eq!(settings.channels["vis"].filter_wheel.as_deref(), Some("wheel_vis"));
    assert_eq!(settings.safety.rules["wind_m_s"].critical, Some(18.0));
}

#[test]
fn the_simulated_observatory_is_the_same_one_with_every_device_simulated() {
    let (real, simulated) = (load("alidade.toml"), load("simulated.toml"));
    assert!(simulated.devices.values().all(|device| device.link == Link::Simulated));
    assert_eq!(real.site, simulated.site);
    assert_eq!(real.channels, simulated.channels);
    assert_eq!(real.safety, simulated.safety);
    assert_eq!(
        real.devices.keys().collect::<Vec<_>>(),
        simulated.devices.keys().collect::<Vec<_>>()
    );
}

/// Every value of the file that is not the default's is read, so removing a key must be noticed: the commented file
/// names every key that exists. Serde tells the keys it knows when it meets one it does not.
#[test]
fn every_key_that_exists_is_in_the_commented_configuration() {
    let text = std::fs::read_to_string(config("alidade.toml")).unwrap();
    let sections = [
        "",
        "site.",
        "unit.",
        "safety.",
        "enclosure.",
        "guard.",
        "alarms.",
        "night.",
        "calibration.",
        "scheduling.",
        "scheduling.overheads.",
        "observation.",
        "alerts.",
        "database.",
        "storage.",
        "http.",
        "mqtt.",
        "devices.plc.",
        "channels.vis.",
        "users.ada.",
        "institutes.irap.",
        "safety.rules.wind_m_s.",
        "alerts.listeners.drop.",
    ];
    for section in sections {
        let variable = format!(
            "ALIDADE__{}ZZZZZZZZZZZZ",
            section.replace('.', "__").to_ascii_uppercase()
        );
        let error = Settings::load_with(
            &config("alidade.toml"),
            BTreeMap::from([(variable.clone(), "1".into())]),
        )
        .unwrap_err();
        let cause = &error.faults[0].cause;
        assert!(error.faults[0].place.contains(&variable), "{error}");
        let known = cause
            .split("known here: ")
            .nth(1)
            .unwrap_or_else(|| panic!("{section}: {cause}"));
        for key in known.split(", ") {
            let table = format!("[{section}{key}");
            let written = [
                format!("\n{key} = "),
                format!("\n# {key} = "),
                format!("{table}]"),
                format!("{table}."),
            ];
            let in_prose = text.contains(&format!("or else {key} = "));
            assert!(
                in_prose || written.iter().any(|form| text.contains(form.as_str())),
                "{section}{key} is not in config/alidade.toml"
            );
        }
    }
}

#[test]
fn every_invalid_configuration_is_refused_with_the_faults_it_announces() {
    let mut files: Vec<_> = std::fs::read_dir(config("invalid"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 15, "{} files", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let announced: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# fault: ")).collect();
        assert!(!announced.is_empty(), "{} announces nothing", file.display());
        let error = Settings::load_with(&file, BTreeMap::new())
            .map(|_| panic!("{} is taken for valid", file.display()))
            .unwrap_err();
        let said = error.to_string();
        for fault in &announced {
            let line = said.lines().find(|line| line.contains(fault));
            let line = line.unwrap_or_else(|| panic!("{}: wanted {fault:?}\ngot {said}", file.display()));
            assert!(line.starts_with(&file.display().to_string()), "{line}");
        }
        assert_eq!(error.faults.len(), announced.len(), "{}:\n{said}", file.display());
    }
}

#[test]
fn a_fault_names_the_line_of_its_key() {
    let file = config("invalid/latitude-out-of-range.toml");
    let line = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .position(|line| line.starts_with("latitude_deg"));
    let error = Settings::load_with(&file, BTreeMap::new()).unwrap_err();
    let place = format!("{}:{}", file.display(), line.unwrap() + 1);
    assert_eq!(error.faults[0].place, place);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::load_with(Path::new("/nowhere/alidade.toml"), BTreeMap::new()).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/alidade.toml: cannot be read"),
        "{error}"
    );
}

#[test]
fn a_camera_hangs_on_the_rotator_that_its_channel_names_or_on_the_only_one() {
    use alidade::settings::{DeviceKind, DeviceSettings};
    let mut settings = load("simulated.toml");
    let turner = DeviceSettings {
        kind: DeviceKind::Rotator,
        ..settings.devices["focuser"].clone()
    };
    let on = |settings: &Settings| -> Vec<Option<String>> {
        let channels = settings.channels.values();
        channels.map(|c| settings.rotator_of(c).map(str::to_owned)).collect()
    };
    assert_eq!(on(&settings), [None, None]);
    settings.devices.insert("first".into(), turner.clone());
    assert_eq!(on(&settings), [Some("first".into()), Some("first".into())]);
    settings.devices.insert("second".into(), turner);
    assert_eq!(on(&settings), [None, None], "nobody says which");
    settings.channels.get_mut("vis").unwrap().rotator = Some("second".into());
    assert_eq!(settings.channels.keys().collect::<Vec<_>>(), ["nir", "vis"]);
    assert_eq!(on(&settings), [None, Some("second".into())]);
}

#[test]
fn the_environment_wins_over_the_file() {
    let environment = [
        ("ALIDADE__HTTP__LISTEN", "0.0.0.0:9090"),
        ("ALIDADE__SITE__HEIGHT_M", "651"),
        ("ALIDADE__UNIT__NAME", "7"),
        ("ALIDADE__MQTT__ENABLED", "true"),
        ("ALIDADE__DEVICES__PLC__LINK", "tcp://10.1.1.1:77"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::load_with(&config("alidade.toml"), environment.into()).unwrap();
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:9090");
    assert_eq!(settings.site.height_m, 651.0);
    assert_eq!(settings.unit.name, "7");
    assert!(settings.mqtt.enabled);
    assert_eq!(settings.devices["plc"].link.to_string(), "tcp://10.1.1.1:77");
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    let environment = BTreeMap::from([("ALIDADE__SITE__LATITUDE_DEG".to_owned(), "95".to_owned())]);
    let error = Settings::load_with(&config("alidade.toml"), environment).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable ALIDADE__SITE__LATITUDE_DEG: site.latitude_deg: 95 is outside -90 to 90"
    );
}
