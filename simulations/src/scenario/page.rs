//! Requests as an HTML table, in the manner of a PYROS sequences page: what people already keep on a web page or export
//! from a spreadsheet.
//!
//! The first row of the first table names the columns, in any order and case: `id`, `user`, `target`, `ra_deg`,
//! `dec_deg`, `priority`, `channel`, `filter`, `exposure_s`, `count`; and if wanted `title`, `jd1`, `jd2`, `t_prefered`
//! (Julian dates, UTC), `binning`, `dither_arcsec`, `min_alt_deg`, `moon_sep_deg`, `sun_max_alt_deg`, `max_alt_deg`,
//! `max_airmass`, `max_moon_illumination`, `hour_angle_from_deg`, `hour_angle_to_deg`, `max_seeing_arcsec`,
//! `max_cloud_cover`; `after` (the id of a sequence, `ID-NUMBER`) with `min_gap_s` and `max_gap_s`; `group` with
//! `group_at_least` and `group_at_most`; `repeat_count` with `repeat_every_s` and `repeat_tolerance_s`. An empty optional
//! cell stands for the default. Other columns are not read.
//!
//! A row is a plan. Rows of one `id` make one request: with the target of the row before they add an album, or a plan to
//! the album of their channel; with another target they begin the next sequence.

use super::sequences::Wrong;
use alidade_model::{
    request::{After, Album, Constraints, Group, Origin, Plan, Repeat, Request, Sequence, Target, Timing},
    time::UtcTime,
};
use std::collections::BTreeMap;

const REQUIRED: [&str; 10] = [
    "id",
    "user",
    "target",
    "ra_deg",
    "dec_deg",
    "priority",
    "channel",
    "filter",
    "exposure_s",
    "count",
];

/// Text between tags, with the usual character references resolved and white space made single.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' if inside => inside = false,
            other if !inside => text.push(other),
            _ => {}
        }
    }
    for (reference, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
    ] {
        text = text.replace(reference, character);
    }
    text.replace("&amp;", "&")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where a tag of one of these names begins after `from`: its place, the end of the tag, and the name.
fn next_tag<'n>(lower: &str, names: &[&'n str], from: usize) -> Option<(usize, usize, &'n str)> {
    let mut at = from;
    while let Some(start) = lower[at..].find('<').map(|found| found + at) {
        let rest = &lower[start + 1..];
        for name in names {
            let after = rest.strip_prefix(name);
            if after.is_some_and(|after| after.starts_with(|c: char| c == '>' || c == '/' || c.is_ascii_whitespace())) {
                let end = rest.find('>').map_or(lower.len(), |end| start + end + 2);
                return Some((start, end, name));
            }
        }
        at = start + 1;
    }
    None
}

/// The contents of each element of some kinds, in order. An element ends at its closing tag or, where that is left out as
/// HTML allows, where the next one begins.
fn elements<'a>(html: &'a str, names: &[&str]) -> Vec<&'a str> {
    let lower = html.to_ascii_lowercase();
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((_, begin, name)) = next_tag(&lower, names, from) {
        let next = next_tag(&lower, names, begin).map_or(html.len(), |(start, _, _)| start);
        let close = lower[begin..]
            .find(&format!("</{name}"))
            .map_or(html.len(), |at| at + begin);
        let end = close.min(next);
        found.push(&html[begin..end]);
        from = end;
    }
    found
}

/// The page without its comments, whatever they hold.
fn without_comments(html: &str) -> String {
    let mut kept = String::new();
    let mut rest = html;
    while let Some(start) = rest.find("<!--") {
        kept.push_str(&rest[..start]);
        rest = rest[start..].find("-->").map_or("", |end| &rest[start + end + 3..]);
    }
    kept + rest
}

/// Reads the requests of a page; the error is place and cause.
pub fn from_html(text: &str, submitted_at: UtcTime) -> Result<Vec<Request>, Wrong> {
    let text = without_comments(text);
    let table = elements(&text, &["table"]).first().copied().unwrap_or(&text);
    let mut rows = elements(table, &["tr"]).into_iter();
    let header: Vec<String> = rows
        .next()
        .map(|row| {
            elements(row, &["th", "td"])
                .into_iter()
                .map(|cell| plain(cell).to_ascii_lowercase())
                .collect()
        })
        .ok_or_else(|| (String::new(), "holds no table row".to_owned()))?;
    if let Some(wanted) = REQUIRED
        .iter()
        .find(|wanted| !header.iter().any(|column| column == *wanted))
    {
        return Err(("header".into(), format!("column {wanted} is missing")));
    }
    let mut all: Vec<Request> = Vec::new();
    let mut repeats = BTreeMap::new();
    for (index, row) in rows.enumerate() {
        let place = format!("row {}", index + 1);
        let cells: Vec<String> = elements(row, &["td", "th"]).into_iter().map(plain).collect();
        if cells.len() != header.len() {
            return Err((place, format!("has {} cells instead of {}", cells.len(), header.len())));
        }
        let row = Row(header
            .iter()
            .map(String::as_str)
            .zip(cells.iter().map(String::as_str))
            .collect());
        let repeat = row.repeat().map_err(|cause| (place.clone(), cause))?;
        let sequence = row
            .join(&mut all, submitted_at)
            .map_err(|cause| (place.clone(), cause))?;
        if let (Some(repeat), Some(sequence)) = (repeat, sequence) {
            repeats.insert(sequence, (place, repeat));
        }
    }
    for request in &mut all {
        let once = std::mem::take(&mut request.sequences);
        for sequence in once {
            match repeats.remove(&sequence.id) {
                None => request.sequences.push(sequence),
                Some((place, repeat)) => {
                    let series = repeat.series(&sequence).map_err(|e| (place, e.to_string()))?;
                    request.sequences.extend(series);
                }
            }
        }
    }
    Ok(all)
}

/// One row by column.
struct Row<'a>(BTreeMap<&'a str, &'a str>);

impl Row<'_> {
    fn word(&self, column: &str) -> &str {
        self.0.get(column).copied().unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<T, String> {
        let word = self.word(column);
        word.parse().map_err(|_| {
            if word.is_empty() {
                format!("{column} is empty")
            } else {
                format!("{column} {word:?} is not a number")
            }
        })
    }

    fn number_or<T: std::str::FromStr>(&self, column: &str, default: T) -> Result<T, String> {
        if self.word(column).is_empty() {
            Ok(default)
        } else {
            self.number(column)
        }
    }

    /// The number of a cell that may be empty.
    fn asked<T: std::str::FromStr>(&self, column: &str) -> Result<Option<T>, String> {
        if self.word(column).is_empty() {
            Ok(None)
        } else {
            self.number(column).map(Some)
        }
    }

    fn hour_angle(&self) -> Result<Option<(f64, f64)>, String> {
        match (self.asked("hour_angle_from_deg")?, self.asked("hour_angle_to_deg")?) {
            (None, None) => Ok(None),
            (from, to) => Ok(Some((from.unwrap_or(-180.0), to.unwrap_or(180.0)))),
        }
    }

    fn timing(&self) -> Result<Timing, String> {
        let after = match self.word("after") {
            "" => None,
            other => Some(After {
                sequence: other.into(),
                min_gap_s: self.number_or("min_gap_s", 0.0)?,
                max_gap_s: self.asked("max_gap_s")?,
                required: true,
            }),
        };
        let group = match self.word("group") {
            "" => None,
            name => Some(Group {
                name: name.into(),
                at_least: self.number_or("group_at_least", 0)?,
                at_most: self.asked("group_at_most")?,
            }),
        };
        Ok(Timing {
            after,
            group,
            ..Timing::default()
        })
    }

    fn repeat(&self) -> Result<Option<Repeat>, String> {
        let Some(count) = self.asked("repeat_count")? else {
            return Ok(None);
        };
        Ok(Some(Repeat {
            count,
            every_s: self.number("repeat_every_s")?,
            tolerance_s: self.number("repeat_tolerance_s")?,
        }))
    }

    fn date(&self, column: &str) -> Result<Option<UtcTime>, String> {
        if self.word(column).is_empty() {
            return Ok(None);
        }
        UtcTime::from_julian_date(self.number(column)?)
            .map(Some)
            .ok_or_else(|| format!("{column} {:?} is no Julian date", self.word(column)))
    }

    fn window(&self) -> Result<Option<(UtcTime, UtcTime)>, String> {
        match (self.date("jd1")?, self.date("jd2")?) {
            (None, None) => Ok(None),
            (Some(start), Some(end)) => Ok(Some((start, end))),
            _ => Err("jd1 and jd2 come together".to_owned()),
        }
    }

    fn sequence(&self, request: &str, number: usize) -> Result<Sequence, String> {
        let usual = Constraints::default();
        Ok(Sequence {
            id: format!("{request}-{number}"),
            request: request.into(),
            user: self.word("user").into(),
            target: Target {
                name: self.word("target").into(),
                ra_deg: self.number("ra_deg")?,
                dec_deg: self.number("dec_deg")?,
            },
            priority: self.number("priority")?,
            window: self.window()?,
            t_prefered: self.date("t_prefered")?,
            constraints: Constraints {
                min_alt_deg: self.number_or("min_alt_deg", usual.min_alt_deg)?,
                moon_sep_deg: self.number_or("moon_sep_deg", usual.moon_sep_deg)?,
                sun_max_alt_deg: self.number_or("sun_max_alt_deg", usual.sun_max_alt_deg)?,
                max_alt_deg: self.asked("max_alt_deg")?,
                max_airmass: self.asked("max_airmass")?,
                max_moon_illumination: self.asked("max_moon_illumination")?,
                hour_angle_deg: self.hour_angle()?,
                max_seeing_arcsec: self.asked("max_seeing_arcsec")?,
                max_cloud_cover: self.asked("max_cloud_cover")?,
            },
            timing: self.timing()?,
            albums: Vec::new(),
        })
    }

    /// Adds this row to the requests of the rows before; the id of the sequence that it began, if it began one.
    fn join(&self, all: &mut Vec<Request>, submitted_at: UtcTime) -> Result<Option<String>, String> {
        let (id, user) = (self.word("id"), self.word("user"));
        if id.is_empty() {
            return Err("id is empty".to_owned());
        }
        let plan = Plan {
            filter: self.word("filter").into(),
            exposure_s: self.number("exposure_s")?,
            count: self.number("count")?,
            binning: self.number_or("binning", 1)?,
            dither_arcsec: self.number_or("dither_arcsec", 0.0)?,
        };
        let at = match all.iter().position(|request| request.id == id) {
            Some(at) => at,
            None => {
                let title = if self.word("title").is_empty() {
                    self.word("target")
                } else {
                    self.word("title")
                };
                all.push(Request {
                    id: id.into(),
                    title: title.into(),
                    user: user.into(),
                    origin: Origin::Routine,
                    submitted_at,
                    sequences: Vec::new(),
                });
                all.len() - 1
            }
        };
        let request = &mut all[at];
        if request.user != user {
            return Err(format!("request {id} belongs to {:?}, not {user:?}", request.user));
        }
        let sequence = self.sequence(id, request.sequences.len() + 1)?;
        let mut begun = None;
        if request
            .sequences
            .last()
            .is_none_or(|last| last.target != sequence.target)
        {
            begun = Some(sequence.id.clone());
            request.sequences.push(sequence);
        }
        if let Some(sequence) = request.sequences.last_mut() {
            let channel = self.word("channel");
            match sequence.albums.iter_mut().find(|album| album.channel == channel) {
                Some(album) => album.plans.push(plan),
                None => sequence.albums.push(Album {
                    channel: channel.into(),
                    plans: vec![plan],
                }),
            }
        }
        Ok(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> UtcTime {
        "2026-03-14T12:00:00Z".parse().unwrap()
    }

    const PAGE: &str = "<html><table><thead><tr><th>ID</th><th>user</th><th>target</th><th>ra_deg</th><th>dec_deg</th>\
        <th>priority</th><th>channel</th><th>filter</th><th>exposure_s</th><th>count</th><th>jd1</th><th>jd2</th></tr>\
        </thead><tr><td>p1</td><td>ada</td><td><a href=\"x\">M 51 &amp; NGC\n 5195</a></td><td>202.47</td><td>47.2</td>\
        <td>5</td><td>vis</td><td>r</td><td>60</td><td>5</td><td>2461114.40</td><td>2461114.60</td></tr></table></html>";

    #[test]
    fn a_row_of_a_sequences_page_becomes_a_request() {
        let request = &from_html(PAGE, noon()).unwrap()[0];
        let sequence = &request.sequences[0];
        assert_eq!(
            (request.id.as_str(), sequence.target.name.as_str()),
            ("p1", "M 51 & NGC 5195")
        );
        assert_eq!(sequence.albums[0].plans[0].count, 5);
        assert!((sequence.window.unwrap().0.julian_date() - 2_461_114.40).abs() < 1e-6);
        assert!(request.check().is_ok());
    }

    #[test]
    fn rows_of_one_id_make_albums_plans_and_sequences() {
        let row = |target: &str, ra: &str, channel: &str, filter: &str| {
            format!("<TR><TD>q<TD>ada<TD>{target}<TD>{ra}<TD>10<TD>5<TD>{channel}<TD>{filter}<TD>30<TD>2<TD><TD>")
        };
        let head = PAGE.split("</thead>").next().unwrap();
        let rows = [
            row("A", "10", "vis", "g"),
            row("A", "10", "vis", "r"),
            row("A", "10", "nir", "z"),
            "<!-- <tr><td>no</td></tr> -->".to_owned(),
            row("B", "20", "vis", "g"),
        ];
        let read = from_html(
            &format!("{head}</thead>{}</table><table><tr><td>x", rows.concat()),
            noon(),
        )
        .unwrap();
        assert_eq!(read.len(), 1);
        let [a, b] = &read[0].sequences[..] else {
            panic!("{:?}", read[0].sequences)
        };
        assert_eq!((a.id.as_str(), b.id.as_str(), a.window), ("q-1", "q-2", None));
        let shape: Vec<(&str, usize)> = a
            .albums
            .iter()
            .map(|al| (al.channel.as_str(), al.plans.len()))
            .collect();
        assert_eq!(shape, [("vis", 2), ("nir", 1)]);
    }

    #[test]
    fn optional_columns_ask_for_airmass_order_and_visits() {
        let columns = "<th>max_airmass</th><th>hour_angle_to_deg</th><th>after</th><th>min_gap_s</th>\
            <th>repeat_count</th><th>repeat_every_s</th><th>repeat_tolerance_s</th></tr></thead>";
        let cells = "<td>1.8</td><td>0</td><td>p0-1</td><td>600</td><td>2</td><td>3600</td><td>60</td></tr>";
        let page = PAGE
            .replace("</tr>        </thead>", columns)
            .replace("</tr></thead>", columns)
            .replace("2461114.60</td></tr>", &format!("2461114.60</td>{cells}"));
        let sequences = &from_html(&page, noon()).unwrap()[0].sequences;
        assert_eq!(sequences.len(), 2);
        assert_eq!(sequences[0].constraints.max_airmass, Some(1.8));
        assert_eq!(sequences[0].constraints.hour_angle_deg, Some((-180.0, 0.0)));
        assert_eq!(sequences[0].timing.after.as_ref().unwrap().sequence, "p0-1");
        assert_eq!(sequences[1].timing.after.as_ref().unwrap().sequence, "p1-1");
        let wrong = from_html(&page.replace("<td>1.8<", "<td>thin<"), noon()).unwrap_err();
        assert_eq!(wrong, ("row 1".into(), "max_airmass \"thin\" is not a number".into()));
    }

    #[test]
    fn a_wrong_cell_names_its_row_and_column() {
        let wrong = |from: &str, to: &str| from_html(&PAGE.replace(from, to), noon()).unwrap_err();
        assert_eq!(
            wrong("47.2", "north"),
            ("row 1".into(), "dec_deg \"north\" is not a number".into())
        );
        assert_eq!(
            wrong("<td>5</td><td>vis", "<td></td><td>vis"),
            ("row 1".into(), "priority is empty".into())
        );
        assert_eq!(wrong("<td>2461114.60</td>", "<td></td>").1, "jd1 and jd2 come together");
        assert_eq!(wrong("<td>2461114.60</td>", "").1, "has 11 cells instead of 12");
        assert_eq!(
            wrong("<th>filter</th>", "<th>colour</th>"),
            ("header".into(), "column filter is missing".into())
        );
        assert!(from_html("<p>nothing</p>", noon()).is_err());
    }
}
