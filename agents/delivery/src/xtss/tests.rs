use super::*;
use proptest::prelude::*;

fn now() -> UtcTime {
    UtcTime::from_unix_micros(1_532_000_000_000_000).unwrap()
}

fn request(operation: &str, value: Option<&str>) -> Request {
    serde_json::from_value(json!({ "operation": operation, "ousUID": "uid://X1/X1/Xb2", "value": value })).unwrap()
}

fn unit(state: UnitState) -> Unit {
    Unit {
        uid: "uid://X1/X1/Xb2".into(),
        program: "2015.1.00657.S".into(),
        recipe: Some("PipelineCalibration".into()),
        executive: Some("EU".into()),
        state,
        step: (state == UnitState::DeliveryInProgress).then(|| "ProductsIngested".into()),
        created: now(),
        changed: now(),
    }
}

#[test]
fn an_unknown_unit_an_unknown_operation_and_an_unknown_state_are_refused_with_the_reason() {
    let known = unit(UnitState::Processing);
    let told = |known: Option<&Unit>, request: &Request| decide(known, request, now()).unwrap_err().to_string();
    assert_eq!(
        told(None, &request("set-state", Some("Processing"))),
        "unit uid://X1/X1/Xb2 is unknown"
    );
    assert_eq!(
        told(Some(&known), &request("paint", None)),
        "Unsupported operation: paint"
    );
    assert_eq!(
        told(Some(&known), &request("set-state", Some("Lost"))),
        "Lost is not a state of a observation unit set"
    );
    assert_eq!(
        told(Some(&known), &request("set-state", Some("Delivered"))),
        "uid://X1/X1/Xb2: observation unit set cannot go from Processing to Delivered"
    );
}

#[test]
fn a_delivered_unit_has_neither_sub_state_nor_executive() {
    let end = decide(
        Some(&unit(UnitState::DeliveryInProgress)),
        &request("set-state", Some("Delivered")),
        now(),
    )
    .unwrap()
    .unit;
    assert_eq!((end.step, end.executive), (None, None));
}

#[test]
fn a_failed_review_clears_the_recipe_and_processing_needs_one() {
    let back = decide(
        Some(&unit(UnitState::Reviewing)),
        &request("set-state", Some("ReadyForProcessing")),
        now(),
    )
    .unwrap()
    .unit;
    assert_eq!(back.recipe, None);
    let refusal = decide(Some(&back), &request("set-state", Some("Processing")), now()).unwrap_err();
    assert_eq!(refusal.status, 409);
}

#[test]
fn nothing_is_delivered_before_its_products_are_ingested() {
    let mut early = unit(UnitState::DeliveryInProgress);
    early.step = Some("IngestingProducts".into());
    let refusal = decide(Some(&early), &request("set-state", Some("Delivered")), now()).unwrap_err();
    assert!(refusal.text.contains("before ProductsIngested"), "{refusal}");
    let skipped = decide(
        Some(&unit(UnitState::Verified)),
        &request("set-substate", Some("ProductsIngested")),
        now(),
    );
    assert_eq!(skipped.unwrap_err().status, 409);
}

#[test]
fn patterns_of_sub_states_are_those_of_file_names() {
    assert!(glob("Pipeline*", "PipelineImaging") && glob("*", "") && glob("?ab", "xab"));
    assert!(!glob("Pipeline?", "PipelineImaging"));
}

/// What the seed's diagram allows, written down a second time by hand: the oracle of the walk.
fn diagram(from: UnitState, to: UnitState) -> bool {
    use UnitState::*;
    matches!(
        (from, to),
        (FullyObserved, ReadyForProcessing)
            | (ReadyForProcessing, Processing)
            | (Processing, ProcessingProblem | ReadyForReview | ReadyForProcessing)
            | (ProcessingProblem, ReadyForProcessing)
            | (ReadyForReview, Reviewing)
            | (Reviewing, ReadyForReview | Verified | ReadyForProcessing)
            | (Verified, DeliveryInProgress)
            | (DeliveryInProgress, Delivered)
            | (Delivered, QA3InProgress)
            | (QA3InProgress, Delivered | ReadyForProcessing)
    )
}

#[test]
fn of_a_million_random_events_no_illegal_one_is_accepted_and_no_legal_one_refused() {
    // Marsaglia's xorshift64 (J. Stat. Softw. 8, 14, 2003).
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below
    };
    let mut known = unit(UnitState::ReadyForProcessing);
    let (mut accepted, mut refusals) = (0u32, 0u32);
    let mut ask = request("set-state", None);
    for _ in 0..1_000_000 {
        let legal = if known.state == UnitState::DeliveryInProgress && random(2) == 0 {
            let to = Step::ALL[random(4)];
            (ask.operation, ask.value) = ("set-substate".into(), Some(to.to_string()));
            let from: Step = known.step.as_deref().unwrap().parse().unwrap();
            from == to || to == Step::IngestionTriggered || to as usize == from as usize + 1
        } else {
            let to = UnitState::ALL[random(UnitState::ALL.len())];
            (ask.operation, ask.value) = ("set-state".into(), Some(to.to_string()));
            let ready = match to {
                UnitState::Delivered => {
                    known.state != UnitState::DeliveryInProgress || known.step.as_deref() == Some("ProductsIngested")
                }
                UnitState::Processing => known.recipe.is_some(),
                _ => true,
            };
            diagram(known.state, to) && ready
        };
        match decide(Some(&known), &ask, now()) {
            Ok(decision) => {
                assert!(legal, "{known:?} {ask:?}");
                known = decision.unit;
                accepted += 1;
            }
            Err(refusal) => {
                assert!(!legal, "{known:?} {ask:?}: {refusal}");
                refusals += 1;
            }
        }
        if known.recipe.is_none() && random(2) == 0 {
            known = decide(Some(&known), &request("set-recipe", Some("PipelineImaging")), now())
                .unwrap()
                .unit;
        }
    }
    assert!(accepted > 50_000 && refusals > 50_000, "{accepted} {refusals}");
}

proptest! {
    #[test]
    fn no_request_makes_the_service_panic_or_lose_the_identity_of_a_unit(
        operation in "(create|set-state|set-substate|set-exec|set-recipe|clear-exec|[a-z-]{0,12})",
        uid in "\\PC{0,20}", value in proptest::option::of("\\PC{0,30}"), program in proptest::option::of("\\PC{0,10}"),
    ) {
        let request = Request { operation, uid: uid.clone(), value, program, recipe: None, exec: None, state: None,
            substate: None, cause: None, context: Value::Null };
        if let Ok(decision) = decide(None, &request, now()) {
            prop_assert_eq!(decision.unit.uid, uid);
        }
    }
}
