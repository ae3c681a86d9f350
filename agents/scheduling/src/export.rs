//! A schedule for other programs: CSV (RFC 4180) and iCalendar (RFC 5545).

use crate::instance::{Instance, utc_text};
use crate::plan::Plan;
use chrono::{DateTime, Utc};

/// One row per request: planned ones in time order, then the others with their reason.
pub fn csv(instance: &Instance, plan: &Plan) -> String {
    let mut out = row(&[
        "id",
        "user",
        "status",
        "start_utc",
        "end_utc",
        "delta_tl_s",
        "delta_tr_s",
        "value",
        "reason",
        "sentence",
    ]);
    let user_of = |id: &str| user(instance, id);
    for p in &plan.planned {
        let numbers = [p.delta_tl_s, p.delta_tr_s, p.value].map(|x| format!("{x:.1}"));
        let (start, end) = (utc_text(p.start), utc_text(p.end));
        out += &row(&[
            &p.id,
            user_of(&p.id),
            "planned",
            &start,
            &end,
            &numbers[0],
            &numbers[1],
            &numbers[2],
            "",
            "",
        ]);
    }
    for u in &plan.unplanned {
        let code = u.reason.code();
        out += &row(&[
            &u.id,
            user_of(&u.id),
            "unplanned",
            "",
            "",
            "",
            "",
            "",
            code,
            &u.sentence,
        ]);
    }
    out
}

fn user<'i>(instance: &'i Instance, id: &str) -> &'i str {
    let found = instance.problem.requests.iter().find(|r| r.id == id);
    found.map_or("", |r| r.user.as_str())
}

fn row(fields: &[&str]) -> String {
    let quoted = fields.iter().map(|f| {
        if f.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", f.replace('"', "\"\""))
        } else {
            (*f).to_owned()
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

/// One event per planned block. `made_at` is the stamp that the format asks for.
pub fn icalendar(instance: &Instance, plan: &Plan, made_at: DateTime<Utc>) -> String {
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//alidade//schedule//EN".to_owned(),
    ];
    for p in &plan.planned {
        let about = format!(
            "user {}, slack -{:.0} s +{:.0} s, value {:.0}",
            user(instance, &p.id),
            p.delta_tl_s,
            p.delta_tr_s,
            p.value
        );
        lines.extend([
            "BEGIN:VEVENT".to_owned(),
            format!("UID:{}-{}@alidade", escaped(&p.id), basic(p.start)),
            format!("DTSTAMP:{}", basic(made_at)),
            format!("DTSTART:{}", basic(p.start)),
            format!("DTEND:{}", basic(p.end)),
            format!("SUMMARY:{}", escaped(&p.id)),
            format!("DESCRIPTION:{}", escaped(&about)),
            "END:VEVENT".to_owned(),
        ]);
    }
    lines.push("END:VCALENDAR".to_owned());
    lines.iter().map(|line| folded(line)).collect()
}

/// RFC 5545 section 3.3.5, form 2: UTC, to the second.
fn basic(t: DateTime<Utc>) -> String {
    t.format("%Y%m%dT%H%M%SZ").to_string()
}

/// RFC 5545 section 3.3.11.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

/// RFC 5545 section 3.1: lines of at most 75 octets, continued after a space.
fn folded(line: &str) -> String {
    let (mut out, mut width) = (String::new(), 0);
    for c in line.chars() {
        if width + c.len_utf8() > 75 {
            out.push_str("\r\n ");
            width = 1;
        }
        out.push(c);
        width += c.len_utf8();
    }
    out + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(row(&["a,b", "say \"no\"", "c"]), "\"a,b\",\"say \"\"no\"\"\",c\r\n");
    }

    #[test]
    fn long_lines_are_folded_at_75_octets_and_unfold_to_themselves() {
        let line = format!("SUMMARY:{}", "é".repeat(100));
        let out = folded(&line);
        assert!(out.split("\r\n").all(|part| part.len() <= 75));
        assert_eq!(out.replace("\r\n ", "").trim_end(), line);
    }

    #[test]
    fn text_is_escaped_for_calendars() {
        assert_eq!(escaped("a,b;c\\d\ne"), "a\\,b\\;c\\\\d\\ne");
    }
}
