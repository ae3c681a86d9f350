//! The weblog of a run that has none of its own: what was run, how it went, and what it said. Pure.

use crate::port::{AttemptRow, ExceptionRow, LogRow, RunRecord};
use alidade_delivery::weblog::escaped;
use std::collections::BTreeSet;

/// Everything that is told of a run.
pub struct Story<'a> {
    pub run: &'a RunRecord,
    pub attempts: &'a [AttemptRow],
    pub exceptions: &'a [ExceptionRow],
    pub log: &'a [LogRow],
    /// Names of the products.
    pub files: &'a [String],
}

impl Story<'_> {
    /// Names and contents: `index.html`, a page a task, and `log.txt`.
    pub fn pages(&self, unit: &str) -> Vec<(String, Vec<u8>)> {
        let mut pages = vec![("index.html".to_owned(), self.index(unit).into_bytes())];
        let nodes: BTreeSet<&str> = self.attempts.iter().map(|attempt| attempt.node.as_str()).collect();
        for node in nodes {
            pages.push((page_of(node), self.task(unit, node).into_bytes()));
        }
        let log: String = self.log.iter().map(line).collect();
        pages.push(("log.txt".into(), log.into_bytes()));
        pages
    }

    fn index(&self, unit: &str) -> String {
        let rows: String = self.attempts.iter().map(row).collect();
        let files: String = self.files.iter().map(|name| format!("<li>{}", escaped(name))).collect();
        let body = format!(
            "<p>Pipeline {} {} of {}, run {}: {} ({})<table><tr><th>task<th>try<th>state<th>status<th>seconds<th>reason\
             {rows}</table><h2>Products</h2><ul>{files}</ul><p><a href=\"log.txt\">log</a>",
            escaped(&self.run.pipeline),
            escaped(&self.run.version),
            escaped(&self.run.plugin),
            escaped(&self.run.id),
            self.run.state,
            escaped(&self.run.cause),
        );
        page(unit, &body)
    }

    fn task(&self, unit: &str, node: &str) -> String {
        let mut body = String::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.node == node) {
            body.push_str(&format!(
                "<p>{} {}, try {}: {} {} {}",
                escaped(&attempt.plugin),
                escaped(&attempt.task),
                attempt.tried,
                attempt.state.as_str(),
                attempt.status.as_str(),
                escaped(&attempt.reason),
            ));
            for exception in self.exceptions.iter().filter(|e| e.attempt == attempt.uuid) {
                body.push_str(&format!("<pre>{}</pre>", escaped(&exception.message)));
            }
        }
        let log: String = self.log.iter().filter(|said| said.node == node).map(line).collect();
        body.push_str(&format!("<pre>{}</pre>", escaped(&log)));
        page(unit, &body)
    }
}

fn page(unit: &str, body: &str) -> String {
    let title = escaped(unit);
    format!("<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}")
}

/// Nodes have letters, digits and what a link can carry as it is; anything else is spelled with underscores.
fn page_of(node: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name: String = node.chars().map(|c| if legal(c) { c } else { '_' }).collect();
    format!("task-{name}.html")
}

fn row(attempt: &AttemptRow) -> String {
    let seconds = match (attempt.started, attempt.ended) {
        (Some(started), Some(ended)) => format!("{:.3}", ended.seconds_since(started)),
        _ => String::new(),
    };
    let item = attempt.iteration.map(|n| format!(" {n}")).unwrap_or_default();
    format!(
        "<tr><td><a href=\"{}\">{}</a>{item}<td>{}<td>{}<td>{}<td>{seconds}<td>{}",
        page_of(&attempt.node),
        escaped(&attempt.node),
        attempt.tried,
        attempt.state.as_str(),
        attempt.status.as_str(),
        escaped(&attempt.reason),
    )
}

fn line(said: &LogRow) -> String {
    format!("{} {} {} {}\n", said.at, said.node, said.level, said.text)
}
