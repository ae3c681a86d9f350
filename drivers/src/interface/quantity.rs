//! What stations measure, and tables by it.

use alidade_model::reading::Reading;
use serde::{Deserialize, Serialize, Serializer};
use std::ops::Index;

/// What stations measure. The name carries the unit, as everywhere outside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Mean wind, m/s.
    WindMS,
    /// Strongest gust of the last minute, m/s.
    GustMS,
    /// Relative humidity outside, percent.
    HumidityPct,
    /// Air temperature outside, degrees Celsius.
    TemperatureC,
    /// Dew point outside, degrees Celsius.
    DewPointC,
    /// Air pressure at the site, hPa.
    PressureHpa,
    /// Rain rate, mm/h; any rain at all is more than 0.
    RainMmH,
    /// Sky minus air temperature in the thermal infrared, K: strongly negative when clear.
    SkyTemperatureK,
    /// Daylight, lux.
    LightLux,
    /// Relative humidity inside the enclosure, percent.
    InsideHumidityPct,
    /// Charge of the uninterruptible power supply, percent.
    UpsChargePct,
    /// A safety monitor says: 0 safe, 1 unsafe.
    MonitorUnsafe,
    /// Free space of the disk that takes the data, megabytes (1,000,000 bytes).
    DiskFreeMb,
    /// How long nothing of the network outside has been reached, seconds.
    LinkSilentS,
}

impl Quantity {
    pub const ALL: [Quantity; 14] = [
        Quantity::WindMS,
        Quantity::GustMS,
        Quantity::HumidityPct,
        Quantity::TemperatureC,
        Quantity::DewPointC,
        Quantity::PressureHpa,
        Quantity::RainMmH,
        Quantity::SkyTemperatureK,
        Quantity::LightLux,
        Quantity::InsideHumidityPct,
        Quantity::UpsChargePct,
        Quantity::MonitorUnsafe,
        Quantity::DiskFreeMb,
        Quantity::LinkSilentS,
    ];

    /// The name with its unit suffix, as in configuration, journal and feed.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::WindMS => "wind_m_s",
            Quantity::GustMS => "gust_m_s",
            Quantity::HumidityPct => "humidity_pct",
            Quantity::TemperatureC => "temperature_c",
            Quantity::DewPointC => "dew_point_c",
            Quantity::PressureHpa => "pressure_hpa",
            Quantity::RainMmH => "rain_mm_h",
            Quantity::SkyTemperatureK => "sky_temperature_k",
            Quantity::LightLux => "light_lux",
            Quantity::InsideHumidityPct => "inside_humidity_pct",
            Quantity::UpsChargePct => "ups_charge_pct",
            Quantity::MonitorUnsafe => "monitor_unsafe",
            Quantity::DiskFreeMb => "disk_free_mb",
            Quantity::LinkSilentS => "link_silent_s",
        }
    }

    /// Outside of this range a sensor is broken.
    pub fn plausible(self) -> (f64, f64) {
        match self {
            Quantity::WindMS => (0.0, 100.0),
            Quantity::GustMS => (0.0, 150.0),
            Quantity::HumidityPct | Quantity::InsideHumidityPct => (0.0, 110.0),
            Quantity::TemperatureC => (-60.0, 60.0),
            Quantity::DewPointC => (-80.0, 60.0),
            Quantity::PressureHpa => (400.0, 1100.0),
            Quantity::RainMmH => (0.0, 500.0),
            Quantity::SkyTemperatureK => (-100.0, 60.0),
            Quantity::LightLux => (0.0, 200_000.0),
            Quantity::UpsChargePct => (0.0, 100.0),
            Quantity::MonitorUnsafe => (0.0, 1.0),
            Quantity::DiskFreeMb | Quantity::LinkSilentS => (0.0, f64::MAX),
        }
    }
}

/// At most one value a quantity, in the order of [`Quantity::ALL`]. Tables of readings are made and asked every second for
/// every source, so this is an array and no tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByQuantity<T>([Option<T>; Quantity::ALL.len()]);

/// What one source measured last, or what all of them did.
pub type Readings = ByQuantity<Reading<f64>>;

impl<T> Default for ByQuantity<T> {
    fn default() -> Self {
        Self([const { None }; Quantity::ALL.len()])
    }
}

impl<T> ByQuantity<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, quantity: Quantity) -> Option<&T> {
        self.0[quantity as usize].as_ref()
    }

    /// The place of a quantity, with or without a value.
    pub fn slot(&mut self, quantity: Quantity) -> &mut Option<T> {
        &mut self.0[quantity as usize]
    }

    pub fn insert(&mut self, quantity: Quantity, value: T) {
        *self.slot(quantity) = Some(value);
    }

    pub fn len(&self) -> usize {
        self.values().count()
    }

    pub fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Quantity, &T)> {
        let both = Quantity::ALL.into_iter().zip(&self.0);
        both.filter_map(|(quantity, value)| Some((quantity, value.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Quantity, &mut T)> {
        let both = Quantity::ALL.into_iter().zip(&mut self.0);
        both.filter_map(|(quantity, value)| Some((quantity, value.as_mut()?)))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

impl<T> FromIterator<(Quantity, T)> for ByQuantity<T> {
    fn from_iter<I: IntoIterator<Item = (Quantity, T)>>(values: I) -> Self {
        let mut table = Self::new();
        for (quantity, value) in values {
            table.insert(quantity, value);
        }
        table
    }
}

impl<T, const N: usize> From<[(Quantity, T); N]> for ByQuantity<T> {
    fn from(values: [(Quantity, T); N]) -> Self {
        values.into_iter().collect()
    }
}

/// # Panics
/// When there is no value, like the index of a map.
impl<T> Index<Quantity> for ByQuantity<T> {
    type Output = T;

    fn index(&self, quantity: Quantity) -> &T {
        match self.get(quantity) {
            Some(value) => value,
            None => panic!("no value of {}", quantity.name()),
        }
    }
}

impl<T: Serialize> Serialize for ByQuantity<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_has_the_place_that_its_number_says_and_the_name_that_is_written() {
        for (place, quantity) in Quantity::ALL.into_iter().enumerate() {
            assert_eq!(quantity as usize, place);
            assert_eq!(written_name(quantity), quantity.name());
        }
    }

    /// The name that serde gives it.
    fn written_name(quantity: Quantity) -> String {
        let value = toml::Value::try_from(ByQuantity::from([(quantity, 1.0)])).unwrap();
        value.as_table().unwrap().keys().next().unwrap().clone()
    }

    #[test]
    fn a_table_holds_one_value_a_quantity_in_their_order() {
        let mut table = ByQuantity::from([(Quantity::LightLux, 3), (Quantity::WindMS, 1), (Quantity::LightLux, 4)]);
        let all: Vec<_> = table.iter().map(|(quantity, value)| (quantity, *value)).collect();
        assert_eq!(all, [(Quantity::WindMS, 1), (Quantity::LightLux, 4)]);
        assert_eq!((table.len(), table.get(Quantity::RainMmH)), (2, None));
        *table.slot(Quantity::WindMS) = None;
        table.values_mut().for_each(|value| *value += 1);
        assert_eq!(table, ByQuantity::from([(Quantity::LightLux, 5)]));
    }
}
