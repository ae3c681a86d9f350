//! Pipeline reports: XML as the seed's pipeline writes it, made here and checked when they come from elsewhere.

use quick_xml::{Reader, events::Event};

/// Largest report that is taken, bytes.
pub const LIMIT: usize = 8 << 20;

/// What a report says at its top.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    pub root: String,
    /// `FinalScore`, 0 to 1.
    pub final_score: Option<f64>,
    /// Score by topic (`Dataset`, `Flagging`, `Calibration`, `Imaging`).
    pub topics: Vec<(String, f64)>,
}

/// What a new report is made of.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub program: &'a str,
    pub unit: &'a str,
    pub recipe: &'a str,
    pub executive: &'a str,
    pub timestamp: &'a str,
    pub products: usize,
    /// 0 to 1, by topic.
    pub topics: &'a [(&'a str, f64)],
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// The XML text.
pub fn write(facts: &Facts) -> String {
    let mean = facts.topics.iter().map(|(_, score)| score).sum::<f64>() / (facts.topics.len().max(1)) as f64;
    let topics: String = facts
        .topics
        .iter()
        .map(|(name, score)| format!("    <{name} Score=\"{score:.3}\"/>\n"))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PipelineAquaReport>\n  <ProjectStructure>\n    \
         <ProposalCode>{}</ProposalCode>\n    <OusEntityId>{}</OusEntityId>\n  </ProjectStructure>\n  <QaSummary>\n    \
         <ProcessingProcedure>{}</ProcessingProcedure>\n    <ProcessingSite>{}</ProcessingSite>\n    \
         <ReportDate>{}</ReportDate>\n    <Products>{}</Products>\n    <FinalScore>{mean:.3}</FinalScore>\n  \
         </QaSummary>\n  <QaPerTopic>\n{topics}  </QaPerTopic>\n</PipelineAquaReport>\n",
        escaped(facts.program),
        escaped(facts.unit),
        escaped(facts.recipe),
        escaped(facts.executive),
        escaped(facts.timestamp),
        facts.products,
    )
}

/// Reads a report to its end; what is not well-formed XML is refused with place and cause.
pub fn read(bytes: &[u8]) -> Result<Summary, String> {
    if bytes.len() > LIMIT {
        return Err(format!("the report has {} bytes, more than {LIMIT}", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("the report is not XML: {e}"))?;
    let mut reader = Reader::from_str(text);
    let (mut summary, mut path): (Summary, Vec<String>) = Default::default();
    loop {
        let place = reader.buffer_position();
        let event = reader
            .read_event()
            .map_err(|e| format!("the report is not XML: byte {place}: {e}"))?;
        match event {
            Event::Eof if summary.root.is_empty() => return Err("the report is not XML: it has no element".into()),
            Event::Eof if !path.is_empty() => {
                return Err(format!("the report is not XML: <{}> is not closed", path.join("><")));
            }
            Event::Eof => return Ok(summary),
            Event::DocType(_) => return Err("the report has a document type: not taken".into()),
            Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                if path.is_empty() && !summary.root.is_empty() {
                    return Err("the report is not XML: it has two roots".into());
                }
                note(&mut summary, &path, &name, &start);
                path.push(name);
            }
            Event::Empty(start) => {
                let name = start.name().as_ref().to_owned();
                note(&mut summary, &path, &name, &start);
            }
            Event::End(_) => drop(path.pop()),
            Event::Text(text) => {
                let text = text.trim().to_owned();
                if path.is_empty() && !text.is_empty() {
                    return Err(format!("the report is not XML: text outside the root, byte {place}"));
                }
                if path.last().is_some_and(|name| name == "FinalScore") {
                    summary.final_score = text.parse().ok().filter(|score: &f64| score.is_finite());
                }
            }
            _ => {}
        }
    }
}

fn note(summary: &mut Summary, path: &[String], name: &str, start: &quick_xml::events::BytesStart) {
    if path.is_empty() && summary.root.is_empty() {
        summary.root = name.to_owned();
    }
    if path.last().is_some_and(|parent| parent == "QaPerTopic") {
        let score = start.attributes().flatten().find(|a| a.key.as_ref() == "Score");
        let score = score.and_then(|a| a.value.parse().ok());
        if let Some(score) = score {
            summary.topics.push((name.to_owned(), score));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let facts = Facts {
            program: "2015.1.00657.S",
            unit: "uid://X1/<X1>/Xb2",
            recipe: "PipelineImaging",
            executive: "EU",
            timestamp: "2018-07-19T07:10:03.781",
            products: 5,
            topics: &[("Dataset", 1.0), ("Imaging", 0.5)],
        };
        let summary = read(write(&facts).as_bytes()).unwrap();
        assert_eq!(summary.root, "PipelineAquaReport");
        assert_eq!(summary.final_score, Some(0.75));
        assert_eq!(summary.topics, [("Dataset".into(), 1.0), ("Imaging".into(), 0.5)]);
    }

    #[test]
    fn a_report_that_is_not_xml_is_refused_with_the_reason() {
        for bad in [
            "",
            "hello",
            "<a><b></a>",
            "<a>",
            "<a/><b>",
            "{\"a\":1}",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
        ] {
            let refused = read(bad.as_bytes());
            assert!(refused.is_err(), "{bad:?} {refused:?}");
        }
        assert!(read(&[0xff, 0xfe, b'<']).is_err());
    }
}
