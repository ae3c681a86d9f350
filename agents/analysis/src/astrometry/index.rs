//! A catalogue in a file: stars in bands of declination, and quads of several sizes for blind solving.
//!
//! All numbers are little-endian. `ALDINDX1`; depth (f32); number of bands, stars, quads (u32 each); length of the name
//! and the name; the first star of each band (u32 each, one more than bands); stars: right ascension (u32, turns / 2^32),
//! declination (i32, degrees times 2^31 / 90), magnitude (i16, thousandths); quads: four stars (u32 each) and four numbers
//! of the code (u16 each, from -0.5 to 1.5).

use super::{
    quads::{self, Quad, Table},
    stars::{SkyStars, Sorted, Star, separation},
    wcs::project,
};
use std::{collections::BTreeMap, fs::File, io::Read, os::unix::fs::FileExt, path::Path, sync::OnceLock};

const MAGIC: &[u8; 8] = b"ALDINDX1";
const BANDS: usize = 720;
const STAR: usize = 10;
const QUAD: usize = 24;
/// Sides of the cells from which stars are chosen for quads, degrees: one level each.
const LEVELS_DEG: [f64; 9] = [0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];
/// Stars taken of every cell, and neighbours of each that make quads.
const A_CELL: usize = 4;
const NEIGHBOURS: usize = 5;
/// A level with more quads than this is not made: the catalogue is too wide for it.
const MOST_STARS_A_LEVEL: usize = 700_000;

/// What an index consists of, before it is written.
#[derive(Debug, Clone)]
pub struct Contents {
    pub name: String,
    pub depth: f64,
    sorted: Sorted,
    quads: Vec<Quad>,
}

/// Reads `ra_deg,dec_deg,mag` lines; a header names the columns in any order, lines that begin with # are comments.
pub fn read_csv(text: &str) -> Result<Vec<Star>, String> {
    let mut columns: Option<[usize; 3]> = None;
    let mut stars = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let Some([ra, dec, mag]) = columns else {
            let place = |names: &[&str]| {
                fields
                    .iter()
                    .position(|f| names.contains(&f.to_ascii_lowercase().as_str()))
            };
            let found = (
                place(&["ra_deg", "ra"]),
                place(&["dec_deg", "dec"]),
                place(&["mag", "phot_g_mean_mag", "vt", "vmag"]),
            );
            let (Some(ra), Some(dec), Some(mag)) = found else {
                return Err("the first line must name the columns ra_deg, dec_deg and mag".into());
            };
            columns = Some([ra, dec, mag]);
            continue;
        };
        let value = |at: usize| {
            fields
                .get(at)
                .and_then(|f| f.parse::<f64>().ok())
                .filter(|v| v.is_finite())
        };
        let star = match (value(ra), value(dec), value(mag)) {
            (Some(ra_deg), Some(dec_deg), Some(mag)) if (0.0..=360.0).contains(&ra_deg) && dec_deg.abs() <= 90.0 => {
                Star {
                    ra_deg: ra_deg % 360.0,
                    dec_deg,
                    mag,
                }
            }
            _ => {
                return Err(format!(
                    "line {}: not a right ascension, declination and magnitude",
                    number + 1
                ));
            }
        };
        stars.push(star);
    }
    if stars.is_empty() {
        return Err("no stars".into());
    }
    Ok(stars)
}

/// Magnitude where the counts per half magnitude are highest: the usual estimate of completeness.
pub fn depth_of(stars: &[Star]) -> f64 {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for star in stars {
        *counts.entry((star.mag * 2.0).floor() as i64).or_default() += 1;
    }
    let fullest = counts.iter().max_by_key(|(bin, count)| (**count, **bin));
    fullest.map_or(f64::NEG_INFINITY, |(bin, _)| (*bin as f64 + 1.0) / 2.0)
}

/// The brightest stars of every cell of a level.
fn chosen(sorted: &Sorted, cell: f64) -> Vec<u32> {
    let mut cells: BTreeMap<(i64, i64), Vec<u32>> = BTreeMap::new();
    for (at, star) in sorted.stars.iter().enumerate() {
        let row = ((star.dec_deg + 90.0) / cell).floor();
        let cosine = ((row + 0.5) * cell - 90.0).to_radians().cos().max(0.0);
        let columns = (360.0 * cosine / cell).round().max(1.0);
        let column = (star.ra_deg / 360.0 * columns).floor();
        cells.entry((row as i64, column as i64)).or_default().push(at as u32);
    }
    let brightness = |at: &u32| sorted.stars[*at as usize].mag;
    cells
        .into_values()
        .flat_map(|mut members| {
            members.sort_by(|a, b| brightness(a).total_cmp(&brightness(b)).then(a.cmp(b)));
            members.truncate(A_CELL);
            members
        })
        .collect()
}

fn quads_of_level(sorted: &Sorted, members: &[u32], cell: f64) -> Vec<Quad> {
    let own = Sorted::new(members.iter().map(|m| sorted.stars[*m as usize]).collect(), cell);
    // Back from the level's order to the catalogue's.
    let key = |s: &Star| (s.ra_deg.to_bits(), s.dec_deg.to_bits(), s.mag.to_bits());
    let places: BTreeMap<_, u32> = members.iter().map(|m| (key(&sorted.stars[*m as usize]), *m)).collect();
    let mut sets: Vec<[u32; 4]> = Vec::new();
    for (at, star) in own.stars.iter().enumerate() {
        let mut near = Vec::new();
        own.around(star.ra_deg, star.dec_deg, 1.5 * cell, |other, s| {
            if other != at {
                near.push((separation(star.ra_deg, star.dec_deg, s.ra_deg, s.dec_deg), other as u32));
            }
        });
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(NEIGHBOURS);
        sets.extend(quads::with_neighbours(
            at as u32,
            &near.iter().map(|n| n.1).collect::<Vec<_>>(),
        ));
    }
    sets.sort_unstable();
    sets.dedup();
    sets.into_iter()
        .filter_map(|set| {
            let corners = set.map(|s| own.stars[s as usize]);
            let centre = (corners[0].ra_deg, corners[0].dec_deg);
            let mut points = [(0.0, 0.0); 4];
            let mut ids = [0; 4];
            for (n, star) in corners.iter().enumerate() {
                // Seen from outside the sphere east would be right; xi is taken as x, so that a frame with east to the
                // left is the mirrored case.
                points[n] = project(centre, (star.ra_deg, star.dec_deg))?;
                ids[n] = *places.get(&key(star))?;
            }
            quads::quad(ids, points)
        })
        .collect()
}

impl Contents {
    /// Sorts the stars and makes the quads of every level that the catalogue fills.
    pub fn new(name: &str, stars: Vec<Star>) -> Self {
        let depth = depth_of(&stars);
        // Positions as they will be read back, so that quads agree with them.
        let stars = stars.iter().map(|s| unpack(&pack(s))).collect();
        let sorted = Sorted::new(stars, 180.0 / BANDS as f64);
        let mut quads: Vec<Quad> = Vec::new();
        for cell in LEVELS_DEG.into_iter().rev() {
            let members = chosen(&sorted, cell);
            if members.len() > MOST_STARS_A_LEVEL {
                break;
            }
            quads.extend(quads_of_level(&sorted, &members, cell));
            // Finer cells hold no more than these.
            if members.len() as f64 > 0.95 * sorted.stars.len() as f64 {
                break;
            }
        }
        quads.sort_by_key(|q| q.stars);
        quads.dedup_by_key(|q| q.stars);
        // In the order in which they are looked up, so that reading need not sort.
        let quads = Table::new(
            quads
                .iter()
                .map(|q| Quad {
                    code: stored(q.code),
                    ..*q
                })
                .collect(),
        )
        .into_quads();
        Self {
            name: name.chars().take(200).collect(),
            depth,
            sorted,
            quads,
        }
    }

    pub fn stars(&self) -> usize {
        self.sorted.stars.len()
    }

    pub fn quads(&self) -> usize {
        self.quads.len()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.stars() * STAR + self.quads() * QUAD + 4096);
        out.extend(MAGIC);
        out.extend((self.depth as f32).to_le_bytes());
        for number in [BANDS, self.stars(), self.quads(), self.name.len()] {
            out.extend((number as u32).to_le_bytes());
        }
        out.extend(self.name.bytes());
        let height = 180.0 / BANDS as f64;
        for band in 0..=BANDS {
            let first = if band == BANDS {
                self.stars()
            } else {
                self.sorted
                    .stars
                    .partition_point(|s| (((s.dec_deg + 90.0) / height) as usize) < band)
            };
            out.extend((first as u32).to_le_bytes());
        }
        for star in &self.sorted.stars {
            out.extend(pack(star));
        }
        for quad in &self.quads {
            for star in quad.stars {
                out.extend(star.to_le_bytes());
            }
            for value in quad.code {
                out.extend(to_word(value).to_le_bytes());
            }
        }
        out
    }
}

/// A number of a code as it is stored.
fn to_word(value: f32) -> u16 {
    ((value + 0.5) / 2.0 * 65_535.0).round().clamp(0.0, 65_535.0) as u16
}

fn of_word(word: u16) -> f32 {
    f32::from(word) / 65_535.0 * 2.0 - 0.5
}

fn stored(code: [f32; 4]) -> [f32; 4] {
    code.map(|v| of_word(to_word(v)))
}

const TURN: f64 = 4_294_967_296.0;

fn pack(star: &Star) -> [u8; STAR] {
    let mut bytes = [0; STAR];
    let ra = ((star.ra_deg / 360.0 * TURN).round() as u64 % (1 << 32)) as u32;
    let dec = (star.dec_deg / 90.0 * f64::from(i32::MAX)).round() as i32;
    let mag = (star.mag * 1000.0).round().clamp(-32_768.0, 32_767.0) as i16;
    bytes[..4].copy_from_slice(&ra.to_le_bytes());
    bytes[4..8].copy_from_slice(&dec.to_le_bytes());
    bytes[8..].copy_from_slice(&mag.to_le_bytes());
    bytes
}

fn unpack(b: &[u8]) -> Star {
    Star {
        ra_deg: f64::from(word(b)) / TURN * 360.0,
        dec_deg: f64::from(word(&b[4..]) as i32) / f64::from(i32::MAX) * 90.0,
        mag: f64::from(i16::from_le_bytes([b[8], b[9]])) / 1000.0,
    }
}

fn word(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

/// An index file, read as far as a question needs it.
#[derive(Debug)]
pub struct Index {
    file: File,
    name: String,
    depth: f64,
    bands: Vec<u32>,
    quads: u32,
    /// Where the stars begin, bytes.
    stars_at: u64,
    blind: OnceLock<(Sorted, Table)>,
}

impl Index {
    pub fn open(path: &Path) -> Result<Self, String> {
        let wrong = |cause: &str| format!("{}: {cause}", path.display());
        let mut file = File::open(path).map_err(|e| wrong(&e.to_string()))?;
        let size = file.metadata().map_err(|e| wrong(&e.to_string()))?.len();
        let mut head = [0u8; 28];
        file.read_exact(&mut head)
            .map_err(|_| wrong("not an index: too short"))?;
        if &head[..8] != MAGIC {
            return Err(wrong("not an index of `image index build`"));
        }
        let depth = f64::from(f32::from_le_bytes([head[8], head[9], head[10], head[11]]));
        let [bands, stars, quads, name] = [12, 16, 20, 24].map(|at| word(&head[at..]));
        let stars_at = 28 + u64::from(name) + 4 * (u64::from(bands) + 1);
        let claimed = stars_at + u64::from(stars) * STAR as u64 + u64::from(quads) * QUAD as u64;
        if bands as usize != BANDS || name > 1000 || claimed != size {
            return Err(wrong("a damaged index: its parts do not fill it"));
        }
        let mut rest = vec![0u8; (stars_at - 28) as usize];
        file.read_exact(&mut rest).map_err(|e| wrong(&e.to_string()))?;
        let (text, table) = rest.split_at(name as usize);
        let bands: Vec<u32> = table.chunks_exact(4).map(word).collect();
        let ordered =
            bands.windows(2).all(|w| w[0] <= w[1]) && bands.first() == Some(&0) && bands.last() == Some(&stars);
        if !ordered {
            return Err(wrong("a damaged index: its bands are not in order"));
        }
        Ok(Self {
            file,
            name: String::from_utf8_lossy(text).into_owned(),
            depth,
            bands,
            quads,
            stars_at,
            blind: OnceLock::new(),
        })
    }

    fn read(&self, from: u64, bytes: usize) -> Result<Vec<u8>, String> {
        let mut buffer = vec![0; bytes];
        self.file
            .read_exact_at(&mut buffer, from)
            .map_err(|e| format!("index {}: {e}", self.name))?;
        Ok(buffer)
    }

    /// All stars and quads, read once.
    pub fn whole(&self) -> Result<&(Sorted, Table), String> {
        if let Some(known) = self.blind.get() {
            return Ok(known);
        }
        let count = self.bands.last().copied().unwrap_or(0) as usize;
        let stars: Vec<Star> = self
            .read(self.stars_at, count * STAR)?
            .chunks_exact(STAR)
            .map(unpack)
            .collect();
        let from = self.stars_at + (count * STAR) as u64;
        let quads = self
            .read(from, self.quads as usize * QUAD)?
            .chunks_exact(QUAD)
            .map(|b| Quad {
                stars: [0, 4, 8, 12].map(|at| word(&b[at..])),
                code: [16, 18, 20, 22].map(|at| of_word(u16::from_le_bytes([b[at], b[at + 1]]))),
            })
            .filter(|q| q.stars.iter().all(|s| (*s as usize) < count))
            .collect();
        Ok(self
            .blind
            .get_or_init(|| (Sorted::new(stars, 180.0 / BANDS as f64), Table::new(quads))))
    }
}

impl SkyStars for Index {
    fn cone(&self, ra: f64, dec: f64, radius: f64) -> Result<Vec<Star>, String> {
        let height = 180.0 / BANDS as f64;
        let band = |dec: f64| (((dec + 90.0) / height).max(0.0) as usize).min(BANDS - 1);
        let (low, high) = (band(dec - radius), band(dec + radius));
        let (from, to) = (self.bands[low] as usize, self.bands[high + 1] as usize);
        let bytes = self.read(self.stars_at + (from * STAR) as u64, (to - from) * STAR)?;
        let cosine = (dec.abs() + radius).min(90.0).to_radians().cos();
        let half = if cosine * 180.0 > radius {
            radius / cosine
        } else {
            180.0
        };
        let near = |s: &Star| ((s.ra_deg - ra + 540.0).rem_euclid(360.0) - 180.0).abs() <= half;
        Ok(bytes
            .chunks_exact(STAR)
            .map(unpack)
            .filter(|s| near(s) && separation(ra, dec, s.ra_deg, s.dec_deg) <= radius)
            .collect())
    }

    fn depth(&self) -> f64 {
        self.depth
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogue_with_columns_in_any_order_is_read_and_a_bad_line_named() {
        let stars = read_csv("# text\nid,dec_deg,mag,ra_deg\n1,-5.5,9.25,200.125\n").unwrap();
        assert_eq!((stars[0].ra_deg, stars[0].dec_deg, stars[0].mag), (200.125, -5.5, 9.25));
        assert!(
            read_csv("ra_deg,dec_deg,mag\n1,2,3\n1,99,3\n")
                .unwrap_err()
                .contains("line 3")
        );
        assert!(read_csv("a,b\n1,2\n").is_err());
        assert!(read_csv("").is_err());
    }

    #[test]
    fn stars_come_back_from_the_file_and_a_damaged_file_is_refused() {
        let stars: Vec<Star> = (0..500)
            .map(|n| Star {
                ra_deg: f64::from(n * 73 % 360) + 0.125,
                dec_deg: f64::from(n % 170) - 85.0,
                mag: 5.0 + f64::from(n % 60) / 10.0,
            })
            .collect();
        let contents = Contents::new("test", stars.clone());
        let path = std::env::temp_dir().join(format!("alidade-index-{}", std::process::id()));
        let bytes = contents.bytes();
        std::fs::write(&path, &bytes).unwrap();
        let index = Index::open(&path).unwrap();
        for star in stars.iter().step_by(50) {
            let found = index.cone(star.ra_deg, star.dec_deg, 0.01).unwrap();
            assert!(
                found
                    .iter()
                    .any(|f| separation(f.ra_deg, f.dec_deg, star.ra_deg, star.dec_deg) < 1e-6)
            );
        }
        assert_eq!(index.whole().unwrap().0.stars.len(), 500);
        assert!(!index.whole().unwrap().1.quads().is_empty());
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(Index::open(&path).unwrap_err().contains("damaged"));
        std::fs::write(&path, b"hello").unwrap();
        assert!(Index::open(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
