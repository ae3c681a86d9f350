//! Request groups written for these tests in the public shape of the observation portal's API.

use super::*;
use alidade_model::request::Constraints;

fn noon() -> UtcTime {
    "2027-03-14T12:00:00Z".parse().unwrap()
}

/// A group of one request with two filters on one target.
fn group() -> Value {
    serde_json::from_str(include_str!("group.json")).unwrap()
}

fn names() -> LcoNames {
    LcoNames {
        user: Some("ada".into()),
        channel: Some("vis".into()),
        filters: [("rp".to_owned(), "r".to_owned())].into(),
    }
}

fn read(value: &Value) -> Result<Vec<Request>, Wrong> {
    from_lco(&value.to_string(), &names(), noon())
}

fn changed(change: impl FnOnce(&mut Value)) -> Result<Vec<Request>, Wrong> {
    let mut value = group();
    change(&mut value);
    read(&value)
}

#[test]
fn a_group_becomes_a_request_with_its_windows_limits_and_exposures() {
    let all = read(&group()).unwrap();
    let [r] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (r.id.as_str(), r.title.as_str(), r.user.as_str()),
        ("lco-71", "M 83 in two colours", "ada")
    );
    let [s] = r.sequences.as_slice() else { panic!("{r:?}") };
    assert_eq!((s.id.as_str(), s.priority), ("lco-71-1", 5.25));
    assert_eq!(
        (s.target.name.as_str(), s.target.ra_deg, s.target.dec_deg),
        ("M 83", 204.2538, -29.8658)
    );
    assert_eq!(s.timing.windows.len(), 2);
    assert_eq!(s.timing.windows[1].0, "2027-03-16T23:00:00Z".parse().unwrap());
    let expected = Constraints {
        max_airmass: Some(1.6),
        moon_sep_deg: 30.0,
        ..Constraints::default()
    };
    assert_eq!(s.constraints, expected);
    let [album] = s.albums.as_slice() else { panic!("{s:?}") };
    assert_eq!(album.channel, "vis");
    let exposures: Vec<_> = album
        .plans
        .iter()
        .map(|p| (p.filter.as_str(), p.exposure_s, p.count, p.binning))
        .collect();
    assert_eq!(exposures, [("r", 90.0, 3, 2), ("B", 120.0, 2, 1)]);
    assert!(r.check().is_ok());
}

#[test]
fn without_names_the_proposal_pays_and_the_instrument_exposes() {
    let all = from_lco(&json!([group()]).to_string(), &LcoNames::default(), noon()).unwrap();
    assert_eq!(all[0].user, "ALI2027A-001");
    let album = &all[0].sequences[0].albums[0];
    assert_eq!(
        (album.channel.as_str(), album.plans[0].filter.as_str()),
        ("1M0-SCICAM-SINISTRO", "rp")
    );
}

#[test]
fn of_a_page_only_what_is_pending_is_read() {
    let mut done = group();
    (done["id"], done["state"]) = (json!(72), json!("COMPLETED"));
    let page = json!({"count": 2, "next": null, "previous": null, "results": [done.clone(), group()]});
    let all = read(&page).unwrap();
    assert_eq!(all.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["lco-71"]);
    let (_, cause) = read(&json!({"results": [done]})).unwrap_err();
    assert!(cause.contains("no pending"), "{cause}");
}

#[test]
fn repeats_are_rounds_and_a_new_target_follows_the_one_before() {
    let twice = changed(|g| g["requests"][0]["configuration_repeats"] = json!(2)).unwrap();
    let filters: Vec<&str> = twice[0].sequences[0].albums[0]
        .plans
        .iter()
        .map(|p| p.filter.as_str())
        .collect();
    assert_eq!(filters, ["r", "B", "r", "B"]);
    let long = changed(|g| {
        let c = &mut g["requests"][0]["configurations"][0];
        (c["type"], c["repeat_duration"]) = (json!("REPEAT_EXPOSE"), json!(1600.0));
        c["instrument_configs"] = json!([c["instrument_configs"][0]]);
    });
    // Five rounds of 3 x 90 s fit into 1600 s.
    assert_eq!(long.unwrap()[0].sequences[0].albums[0].plans[0].count, 15);
    let two = changed(|g| {
        let mut other = g["requests"][0]["configurations"][0].clone();
        (other["target"]["name"], other["target"]["ra"]) = (json!("standard"), json!(210.0));
        other["constraints"]["max_airmass"] = json!(1.3);
        g["requests"][0]["configurations"].as_array_mut().unwrap().push(other);
    })
    .unwrap();
    let [science, standard] = two[0].sequences.as_slice() else {
        panic!("{two:?}")
    };
    let after = standard.timing.after.as_ref().unwrap();
    assert_eq!(
        (after.sequence.as_str(), after.max_gap_s),
        (science.id.as_str(), Some(1800.0))
    );
    assert_eq!(
        (science.constraints.max_airmass, standard.constraints.max_airmass),
        (Some(1.6), Some(1.3))
    );
    assert!(two[0].check().is_ok());
}

#[test]
fn operators_become_groups() {
    let with = |operator: &str| {
        changed(|g| {
            let copy = g["requests"][0].clone();
            g["requests"].as_array_mut().unwrap().push(copy);
            g["operator"] = json!(operator);
        })
    };
    let of = |operator: &str| {
        with(operator).unwrap()[0]
            .sequences
            .iter()
            .map(|s| s.timing.group.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("MANY"), [None, None]);
    let one = of("ONEOF");
    assert!(one.iter().flatten().all(|g| (g.at_least, g.at_most) == (0, Some(1))) && one.len() == 2);
    let all = of("AND");
    assert!(all.iter().flatten().all(|g| (g.at_least, g.at_most) == (2, None)) && all.len() == 2);
    assert!(with("XOR").unwrap_err().1.contains("XOR is none of"));
}

#[test]
fn a_star_is_where_its_proper_motion_took_it() {
    let moved = changed(|g| {
        let t = &mut g["requests"][0]["configurations"][0]["target"];
        // Barnard's star: 10.4 arcseconds a year to the north.
        (t["ra"], t["dec"]) = (json!(269.452), json!(4.693));
        (t["proper_motion_ra"], t["proper_motion_dec"]) = (json!(-802.8), json!(10_362.5));
    });
    let target = moved.unwrap()[0].sequences[0].target.clone();
    // 27.2 years: 281.9 arcseconds north, 21.8 west on the sky.
    assert!(((target.dec_deg - 4.693) * 3600.0 - 281.9).abs() < 0.3, "{target:?}");
    assert!(
        ((target.ra_deg - 269.452) * 3600.0 * 4.693f64.to_radians().cos() + 21.84).abs() < 0.1,
        "{target:?}"
    );
}

#[test]
fn what_cannot_be_observed_here_is_refused_with_its_place() {
    type Change = fn(&mut Value);
    let at = "requests[0].configurations[0]";
    let cases: [(Change, String, &str); 13] = [
        (
            |g| g["requests"][0]["configurations"][0]["target"]["type"] = json!("ORBITAL_ELEMENTS"),
            format!("{at}.target.type"),
            "ORBITAL_ELEMENTS",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["target"]["ra"] = json!(null),
            format!("{at}.target.ra"),
            "missing",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["target"]["dec"] = json!(95),
            format!("{at}.target.dec"),
            "not on the sky",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["type"] = json!("SPECTRUM"),
            format!("{at}.type"),
            "SPECTRUM",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["type"] = json!("REPEAT_EXPOSE"),
            format!("{at}.repeat_duration"),
            "missing",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["instrument_configs"] = json!([]),
            format!("{at}.instrument_configs"),
            "no exposure",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["instrument_configs"][1]["optical_elements"] = json!({}),
            format!("{at}.instrument_configs[1].optical_elements.filter"),
            "missing",
        ),
        (
            |g| g["requests"][0]["configurations"][0]["constraints"]["min_transparency"] = json!(0.8),
            format!("{at}.constraints.min_transparency"),
            "transparency",
        ),
        (
            |g| g["requests"][0]["windows"] = json!([]),
            "requests[0].windows".into(),
            "no window",
        ),
        (
            |g| g["requests"][0]["windows"][0]["end"] = json!("2027-03-14T22:00:00Z"),
            "requests[0].windows[0]".into(),
            "before it starts",
        ),
        (
            |g| g["requests"][0]["windows"][0]["start"] = json!("soon"),
            "requests[0].windows[0].start".into(),
            "not a UTC time",
        ),
        (
            |g| g["observation_type"] = json!("REAL_TIME"),
            "observation_type".into(),
            "REAL_TIME",
        ),
        (
            |g| g["requests"][0]["configuration_repeats"] = json!(4_000_000),
            "requests[0].configuration_repeats".into(),
            "more than",
        ),
    ];
    for (change, place, cause) in cases {
        let (at, said) = changed(change).unwrap_err();
        assert!(
            at == place && said.contains(cause),
            "{at}: {said}, expected {place}: {cause}"
        );
        assert!(!said.contains('\n'));
    }
    let (place, cause) =
        changed(|g| g["requests"][0]["configurations"][0]["instrument_configs"][0]["exposure_count"] = json!(-1))
            .unwrap_err();
    assert!(
        place.ends_with("instrument_configs[0].exposure_count"),
        "{place}: {cause}"
    );
    let (line, _) = from_lco("{\n\"name\": ", &names(), noon()).unwrap_err();
    assert_eq!(line, "2");
    assert!(from_lco("3", &names(), noon()).is_err());
}
