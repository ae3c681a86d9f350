//! What a verdict is made of.

use alidade_model::reading::Reading;

/// Readings by their names with the unit. They are two dozen, made anew every second, and asked for by the same rules in the
/// same order: a list, in which each is looked for first where it was the last time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs(Vec<(&'static str, Reading<f64>)>);

impl Inputs {
    pub fn new() -> Self {
        Self::default()
    }

    /// None for what has never been read.
    pub fn get(&self, name: &str) -> Option<&Reading<f64>> {
        self.get_from(name, &mut 0)
    }

    /// The same, from the place on where it was the last time, which is kept.
    pub(crate) fn get_from(&self, name: &str, place: &mut usize) -> Option<&Reading<f64>> {
        let is_it = |(known, _): &(&str, _)| *known == name;
        if !self.0.get(*place).is_some_and(is_it) {
            *place = self.0.iter().position(is_it)?;
        }
        self.0.get(*place).map(|(_, reading)| reading)
    }

    /// In place of an earlier reading of this name.
    pub fn insert(&mut self, name: &'static str, reading: Reading<f64>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = reading,
            None => self.0.push((name, reading)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, Reading<f64>)> {
        self.0.iter()
    }
}

/// Of two with one name the first counts.
impl FromIterator<(&'static str, Reading<f64>)> for Inputs {
    fn from_iter<I: IntoIterator<Item = (&'static str, Reading<f64>)>>(readings: I) -> Self {
        Self(readings.into_iter().collect())
    }
}

impl<const N: usize> From<[(&'static str, Reading<f64>); N]> for Inputs {
    fn from(readings: [(&'static str, Reading<f64>); N]) -> Self {
        readings.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alidade_model::time::UtcTime;

    #[test]
    fn an_input_is_found_wherever_it_is_now_and_only_by_its_name() {
        let now = UtcTime::from_unix_micros(0).unwrap();
        let reading = |value| Reading::good(value, now);
        let mut first = Inputs::from([("a", reading(1.0)), ("b", reading(2.0))]);
        first.insert("a", reading(3.0));
        let moved = Inputs::from([("b", reading(4.0)), ("c", reading(5.0)), ("a", reading(6.0))]);
        let mut place = 0;
        for (inputs, value) in [(&first, 3.0), (&moved, 6.0), (&first, 3.0)] {
            assert_eq!(inputs.get_from("a", &mut place), Some(&reading(value)));
            assert_eq!(inputs.get("a"), Some(&reading(value)));
        }
        assert_eq!((first.iter().count(), first.get("c")), (2, None));
        assert_eq!(
            (first.get_from("c", &mut place), first.get_from("a", &mut place)),
            (None, Some(&reading(3.0)))
        );
    }
}
