//! Where a direction falls on a detector.

/// How a channel sees.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelView {
    pub width: usize,
    pub height: usize,
    pub scale_arcsec: f64,
    /// Position angle of the y axis, degrees, north through east; of a camera on a rotator, at its zero.
    pub rotation_deg: f64,
    /// The camera hangs on the rotator.
    pub turns: bool,
    pub gain_e_adu: f64,
    pub read_noise_e: f64,
}

/// Standard coordinates (xi towards east, eta towards north), arcseconds, of `direction` on the plane that touches the
/// sphere at `centre`; both ICRS degrees (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3). `None` farther
/// than about 84 degrees from the centre.
pub fn tangent_plane(centre: (f64, f64), direction: (f64, f64)) -> Option<(f64, f64)> {
    let (ra0, dec0) = (centre.0.to_radians(), centre.1.to_radians());
    let (ra, dec) = (direction.0.to_radians(), direction.1.to_radians());
    let cosine = dec0.sin() * dec.sin() + dec0.cos() * dec.cos() * (ra - ra0).cos();
    if cosine <= 0.1 {
        return None;
    }
    let xi = dec.cos() * (ra - ra0).sin() / cosine;
    let eta = (dec0.cos() * dec.sin() - dec0.sin() * dec.cos() * (ra - ra0).cos()) / cosine;
    Some((xi.to_degrees() * 3600.0, eta.to_degrees() * 3600.0))
}

impl ChannelView {
    /// The same while the rotator stands at a position angle, degrees.
    pub fn turned(&self, rotator_deg: f64) -> Self {
        let turn_deg = if self.turns { rotator_deg } else { 0.0 };
        Self {
            rotation_deg: self.rotation_deg + turn_deg,
            ..self.clone()
        }
    }

    /// Pixel position (0-based, centre of the first pixel at 0) of a direction, for a field centred on `centre`.
    pub fn pixel_of(&self, centre: (f64, f64), direction: (f64, f64), binning: f64) -> Option<(f64, f64)> {
        let (xi, eta) = tangent_plane(centre, direction)?;
        let (sin, cos) = self.rotation_deg.to_radians().sin_cos();
        let scale = self.scale_arcsec * binning;
        // North is up and east to the left at position angle 0: x grows westward.
        let x = (-xi * cos + eta * sin) / scale;
        let y = (xi * sin + eta * cos) / scale;
        let middle = |n: usize| ((n as f64 / binning).floor() - 1.0) / 2.0;
        Some((middle(self.width) + x, middle(self.height) + y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(rotation_deg: f64) -> ChannelView {
        ChannelView {
            width: 256,
            height: 256,
            scale_arcsec: 1.8,
            rotation_deg,
            turns: false,
            gain_e_adu: 1.5,
            read_noise_e: 6.0,
        }
    }

    #[test]
    fn east_is_left_and_north_is_up() {
        let (x, y) = view(0.0).pixel_of((150.0, 30.0), (150.02, 30.01), 1.0).unwrap();
        assert!(x < 127.5 && y > 127.5);
        assert_eq!(
            view(0.0).pixel_of((150.0, 30.0), (150.0, 30.0), 1.0),
            Some((127.5, 127.5))
        );
        assert_eq!(view(0.0).pixel_of((150.0, 30.0), (330.0, -30.0), 1.0), None);
    }

    #[test]
    fn only_a_camera_on_the_rotator_turns_with_it() {
        let (fixed, centre, north) = (view(10.0), (150.0, 0.0), (150.0, 0.02));
        let turning = ChannelView {
            turns: true,
            ..fixed.clone()
        };
        assert_eq!(fixed.turned(90.0), fixed);
        assert_eq!(
            turning.turned(35.0).pixel_of(centre, north, 1.0),
            view(45.0).pixel_of(centre, north, 1.0)
        );
    }

    #[test]
    fn the_y_axis_points_to_the_position_angle() {
        // At position angle 90 degrees y points east: a star to the east goes up, one to the north to the right.
        let turned = view(90.0);
        let (x, y) = turned.pixel_of((150.0, 0.0), (150.05, 0.0), 1.0).unwrap();
        assert!((x - 127.5).abs() < 1e-9 && (y - 127.5 - 100.0).abs() < 0.01, "{x} {y}");
        let (x, y) = turned.pixel_of((150.0, 0.0), (150.0, 0.05), 1.0).unwrap();
        assert!((x - 127.5 - 100.0).abs() < 0.01 && (y - 127.5).abs() < 1e-9, "{x} {y}");
    }

    #[test]
    fn binned_pixels_cover_the_same_sky() {
        let (one, two) = (view(0.0), view(0.0));
        let star = (150.03, 30.04);
        let (x1, y1) = one.pixel_of((150.0, 30.0), star, 1.0).unwrap();
        let (x2, y2) = two.pixel_of((150.0, 30.0), star, 2.0).unwrap();
        assert!((x2 - (x1 - 0.5) / 2.0).abs() < 1e-9 && (y2 - (y1 - 0.5) / 2.0).abs() < 1e-9);
    }
}
