//! Weather samples as they are kept, with the limits that hold.

use super::{
    Problem, Shared,
    nights::now,
    records::ask,
    reply::{document, limited, query},
};
use crate::store::queries::WeatherSample;
use actix_web::{HttpRequest, HttpResponse, web::Data};
use alidade_model::time::UtcTime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spanned {
    quantity: Option<String>,
    from: Option<UtcTime>,
    until: Option<UtcTime>,
    /// Seconds of which only the sample nearest to its limit is kept.
    every_s: Option<u32>,
    limit: Option<u32>,
}

/// What is known of the limit of a quantity.
#[derive(Debug, Clone, Copy, Serialize)]
struct Bound {
    limit: f64,
    /// Unsafe above it; otherwise below.
    above: bool,
}

/// `?quantity=&from=&until=&every_s=&limit=`: `{"quantities": {NAME: {"bound", "samples"}}, "next_from": INSTANT}`.
/// `next_from` is absent when all is told.
pub async fn weather(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, Problem> {
    let wanted: Spanned = query(&request)?;
    let until = wanted.until.unwrap_or_else(|| now(&shared).plus_seconds(1.0));
    let from = wanted.from.unwrap_or_else(|| until.plus_seconds(-86_400.0));
    if from >= until {
        return Err(Problem::bad_request(format!("from {from} is not before until {until}")));
    }
    let every_s = wanted.every_s.unwrap_or(1);
    if !(1..=86_400).contains(&every_s) {
        return Err(Problem::bad_request(format!("every_s {every_s} is outside 1 to 86400")));
    }
    let limit = limited(wanted.limit, 50_000, 50_000)?;
    let quantity = wanted.quantity.clone();
    let mut page = ask(&shared, move |store| {
        store.weather_page(from, until, quantity.as_deref(), limit)
    })
    .await?;
    let mut next = None;
    if page.len() == limit as usize
        && let Some(last) = page.last().map(|sample| sample.at)
    {
        // An instant is told whole or not at all.
        page.retain(|sample| sample.at < last);
        if page.is_empty() {
            return Err(Problem::bad_request(format!(
                "limit {limit} is less than one minute's samples"
            )));
        }
        next = Some(last);
    }
    let bounds = |name: &str| {
        let settings = shared.ports.settings.as_ref()?;
        let rule = settings.safety.rules.get(name)?;
        Some(Bound {
            limit: rule.limit,
            above: rule.sense == crate::settings::Sense::Above,
        })
    };
    let mut quantities: BTreeMap<String, Vec<WeatherSample>> = BTreeMap::new();
    for sample in page {
        quantities.entry(sample.quantity.clone()).or_default().push(sample);
    }
    let told: BTreeMap<String, Value> = quantities
        .into_iter()
        .map(|(name, samples)| {
            let bound = bounds(&name);
            let kept = thinned(samples, from, every_s, bound.is_none_or(|bound| bound.above));
            (name, json!({ "bound": bound, "samples": kept }))
        })
        .collect();
    let mut body = json!({ "from": from, "until": until, "quantities": told });
    if let Some(next) = next {
        body["next_from"] = json!(next);
    }
    document(&body)
}

/// Of every `every_s` seconds the worst sample: the highest where high is bad, a hole where there is nothing else.
fn thinned(samples: Vec<WeatherSample>, from: UtcTime, every_s: u32, high_is_bad: bool) -> Vec<Value> {
    let mut kept: Vec<(i64, WeatherSample)> = Vec::new();
    for sample in samples {
        let bin = (sample.at.seconds_since(from) / f64::from(every_s)).floor() as i64;
        match kept.last_mut().filter(|(last, _)| *last == bin) {
            None => kept.push((bin, sample)),
            Some((_, before)) => {
                let worse = match (&before.value, &sample.value) {
                    (Ok(a), Ok(b)) => (b > a) == high_is_bad && a != b,
                    (Err(_), Ok(_)) => true,
                    _ => false,
                };
                if worse {
                    *before = sample;
                }
            }
        }
    }
    let told = |(_, sample): (i64, WeatherSample)| match sample.value {
        Ok(value) => json!({ "at": sample.at, "value": value }),
        Err(reason) => json!({ "at": sample.at, "value": null, "reason": reason }),
    };
    kept.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    #[test]
    fn thinning_keeps_what_is_nearest_to_the_limit() {
        let from = at("2026-03-14T22:00:00Z");
        let sample = |second: f64, value| WeatherSample {
            at: from.plus_seconds(second),
            quantity: "wind_m_s".into(),
            value,
        };
        let all = vec![
            sample(0.0, Ok(3.0)),
            sample(60.0, Ok(9.0)),
            sample(120.0, Ok(4.0)),
            sample(300.0, Ok(1.0)),
        ];
        let values = |high| -> Vec<f64> {
            thinned(all.clone(), from, 300, high)
                .iter()
                .map(|s| s["value"].as_f64().unwrap())
                .collect()
        };
        assert_eq!(values(true), [9.0, 1.0]);
        assert_eq!(values(false), [3.0, 1.0]);
    }
}
