//! The review (AQUA QA2): reports are kept, and people say what they think of the data.
//!
//! A review is asked for on `review.<home>`: unit, reviewer, role, what (`begin`, `pass`, `semipass`, `fail`, `cancel`),
//! comment. A verdict on a unit that waits for its review begins the review by itself. Only the reviewer who has begun
//! one ends it; anybody may cancel it. Pass and semi-pass lead to the ingestion, in this order: Verified,
//! DeliveryInProgress, then the message to the ingestor, so that nobody is ahead of the state.

use crate::{
    books::{Fault, Message, Record},
    desk::{Desk, Draft},
    products, report, unit,
};
use alidade_model::states::UnitState;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const REPORT: &str = "report";
pub const REVIEW: &str = "review";
const AUTHOR: &str = "aqua-qa2";
/// Roles that may review.
pub const ROLES: [&str; 4] = ["reviewer", "astronomer", "operator", "admin"];
/// Longest comment, characters.
const COMMENT_LIMIT: usize = 10_000;

/// What a reviewer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Begin,
    Pass,
    SemiPass,
    Fail,
    Cancel,
}

impl Verdict {
    fn target(self) -> (&'static str, &'static str) {
        match self {
            Verdict::Begin => ("Reviewing", "review started"),
            Verdict::Pass => ("Verified", "review: pass"),
            Verdict::SemiPass => ("Verified", "review: semi-pass"),
            Verdict::Fail => ("ReadyForProcessing", "review: fail"),
            Verdict::Cancel => ("ReadyForReview", "review cancelled"),
        }
    }
}

/// The message on `review.<home>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    #[serde(rename = "ousUID")]
    pub unit: String,
    pub verdict: Verdict,
    pub reviewer: String,
    pub role: String,
    #[serde(default)]
    pub comment: String,
    /// Who carried the request in, such as an address: for the audit.
    #[serde(default)]
    pub by_way_of: String,
}

/// A report of a pipeline run arrives.
pub fn reported(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "ousUID")]
        unit: String,
        source: String,
        report: String,
        timestamp: String,
        #[serde(rename = "productsDir")]
        products_dir: String,
    }
    let told: Told = match serde_json::from_str(&message.body) {
        Ok(told) => told,
        Err(error) => return Ok(Err(format!("not a report: {error}"))),
    };
    let judged = unit::check_uid(&told.unit)
        .and_then(|()| products::check_name(&told.products_dir))
        .and_then(|()| products::check_name(&told.timestamp))
        .and_then(|()| match desk.sites.is_known(&told.source) {
            true => Ok(()),
            false => Err(format!("site {} is unknown", told.source)),
        })
        .and_then(|()| {
            STANDARD
                .decode(&told.report)
                .map_err(|e| format!("the report is not BASE64: {e}"))
        })
        .and_then(|bytes| report::read(&bytes));
    let summary = match judged {
        Ok(summary) => summary,
        Err(why) => return Ok(Err(format!("{}: {why}", told.unit))),
    };
    let topics: Vec<Value> = summary
        .topics
        .iter()
        .map(|(name, s)| json!({ "topic": name, "score": s }))
        .collect();
    let body = json!({
        "ousUID": told.unit, "source": told.source, "encodedReport": told.report, "timestamp": told.timestamp,
        "productsDir": told.products_dir, "finalScore": summary.final_score, "topics": topics,
        "weblog": products::weblog_name(&told.unit, &told.timestamp),
    });
    desk.keep(
        REPORT,
        &format!("{}.{}", told.timestamp, told.unit),
        &told.unit,
        "stored",
        body,
    )?;
    Ok(Ok(()))
}

/// The newest report of a unit.
pub fn newest_report(desk: &mut Desk, uid: &str) -> Result<Option<Record>, Fault> {
    let mut reports = desk.books.records(REPORT, Some(uid), None, 100_000)?;
    reports.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(reports.pop())
}

/// The XML of a kept report.
pub fn report_text(report: &Record) -> Option<Vec<u8>> {
    STANDARD.decode(report.body["encodedReport"].as_str()?).ok()
}

fn judge(request: &ReviewRequest) -> Result<(), String> {
    unit::check_uid(&request.unit)?;
    if request.reviewer.trim().is_empty() || request.reviewer.len() > 200 {
        return Err("a review needs the name of its reviewer".into());
    }
    if !ROLES.contains(&request.role.as_str()) {
        return Err(format!(
            "role {} may not review (one of {} may)",
            request.role,
            ROLES.join(", ")
        ));
    }
    if request.comment.len() > COMMENT_LIMIT || request.comment.contains('\0') {
        return Err(format!("the comment is longer than {COMMENT_LIMIT} characters"));
    }
    if request.verdict == Verdict::Fail && request.comment.trim().is_empty() {
        return Err("a failed review needs a comment that says why".into());
    }
    Ok(())
}

/// A review is asked for.
pub fn asked(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let request: ReviewRequest = match serde_json::from_str(&message.body) {
        Ok(request) => request,
        Err(error) => return Ok(Err(format!("not a review: {error}"))),
    };
    if let Err(why) = judge(&request) {
        return Ok(Err(why));
    }
    let Some(unit) = desk.books.unit(&request.unit)? else {
        return Ok(Err(format!("unit {} is unknown", request.unit)));
    };
    let open = desk.books.records(REVIEW, Some(&request.unit), Some("open"), 1)?.pop();
    if let Some(open) = &open
        && request.verdict != Verdict::Cancel
        && request.verdict != Verdict::Begin
        && open.body["reviewer"] != json!(request.reviewer)
    {
        let who = open.body["reviewer"].as_str().unwrap_or_default();
        return Ok(Err(format!("{} is being reviewed by {who}", request.unit)));
    }
    let Some(report) = newest_report(desk, &request.unit)? else {
        return Ok(Err(format!("{} has no pipeline report", request.unit)));
    };
    let by = format!("{} ({}) {}", request.reviewer, request.role, request.by_way_of);
    desk.log(
        "audit",
        &request.unit,
        by.trim(),
        &format!("{:?}: {}", request.verdict, request.comment),
    )?;
    let context = json!({
        "review": request, "report": report.id, "productsDir": report.body["productsDir"],
        "timestamp": report.body["timestamp"], "reply_to": message.reply_to, "message": message.id,
        "step": "verdict",
    });
    let author = format!("aqua-qa2:{}", request.reviewer);
    if unit.state == UnitState::ReadyForReview && !matches!(request.verdict, Verdict::Begin | Verdict::Cancel) {
        let begin = json!({
            "operation": "set-state", "ousUID": request.unit, "value": "Reviewing", "cause": "review started",
        });
        desk.send(Draft::new("xtss", begin, &author))?;
    }
    let (to, cause) = request.verdict.target();
    let cause = match request.comment.is_empty() {
        true => cause.to_owned(),
        false => format!("{cause}: {}", request.comment),
    };
    let ask = json!({
        "operation": "set-state", "ousUID": request.unit, "value": to, "cause": cause, "context": context,
    });
    let answers = format!("aqua.{}", desk.sites.here);
    desk.send(Draft::new("xtss", ask, &author).answered_at(&answers))?;
    Ok(Ok(()))
}

/// The state service has answered one of our questions.
pub fn answered(desk: &mut Desk, message: &Message) -> Result<Result<(), String>, Fault> {
    let answer: Value = match serde_json::from_str(&message.body) {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(format!("not an answer: {error}"))),
    };
    let context = &answer["context"];
    let Ok(request) = serde_json::from_value::<ReviewRequest>(context["review"].clone()) else {
        return Ok(Err("an answer without its review".into()));
    };
    if answer["status"] != json!(201) {
        let why = answer["error"].as_str().unwrap_or("refused");
        tell(desk, context, json!({ "status": answer["status"], "error": why }))?;
        return Ok(Ok(()));
    }
    if context["step"] == json!("delivery") {
        let home = desk.sites.home.clone();
        let body = json!({
            "ousUID": request.unit, "timestamp": context["timestamp"], "productsDir": context["productsDir"],
        });
        desk.send(Draft::new(&format!("ingest.{home}"), body, AUTHOR))?;
        tell(
            desk,
            context,
            json!({ "status": 201, "state": "DeliveryInProgress", "ousUID": request.unit }),
        )?;
        return Ok(Ok(()));
    }
    keep_review(desk, &request, context)?;
    if matches!(request.verdict, Verdict::Pass | Verdict::SemiPass) {
        let mut context = context.clone();
        context["step"] = json!("delivery");
        let ask = json!({
            "operation": "set-state", "ousUID": request.unit, "value": "DeliveryInProgress",
            "substate": "IngestionTriggered", "cause": "products are to be delivered", "context": context,
        });
        let answers = format!("aqua.{}", desk.sites.here);
        desk.send(Draft::new("xtss", ask, AUTHOR).answered_at(&answers))?;
    } else {
        let (state, _) = request.verdict.target();
        tell(
            desk,
            context,
            json!({ "status": 201, "state": state, "ousUID": request.unit }),
        )?;
    }
    Ok(Ok(()))
}

fn keep_review(desk: &mut Desk, request: &ReviewRequest, context: &Value) -> Result<(), Fault> {
    let open = desk.books.records(REVIEW, Some(&request.unit), Some("open"), 1)?.pop();
    let (id, begun) = match open {
        Some(record) => (record.id, record.body["begun"].clone()),
        None => {
            let id = context["message"].as_str().unwrap_or_default().to_owned();
            (id, json!(desk.now))
        }
    };
    let state = match request.verdict {
        Verdict::Begin => "open",
        Verdict::Pass => "pass",
        Verdict::SemiPass => "semipass",
        Verdict::Fail => "fail",
        Verdict::Cancel => "cancelled",
    };
    let body = json!({
        "ousUID": request.unit, "reviewer": request.reviewer, "role": request.role, "comment": request.comment,
        "report": context["report"], "begun": begun,
    });
    desk.keep(REVIEW, &id, &request.unit, state, body)
}

fn tell(desk: &mut Desk, context: &Value, body: Value) -> Result<(), Fault> {
    if let Some(selector) = context["reply_to"].as_str() {
        let mut draft = Draft::new(selector, body, AUTHOR);
        draft.answers = context["message"].as_str().map(str::to_owned);
        desk.send(draft)?;
    }
    Ok(())
}
