//! The plot of a product: how many vulnerabilities each of its versions has.

/// A version in the plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) version: String,
    pub(crate) count: u32,
    pub(crate) rating: String,
    pub(crate) is_prerelease: bool,
}

/// The drawing, in units of the picture, which grows with the available space.
#[derive(Clone, Debug)]
pub(crate) struct Trend {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) base: u32,
    pub(crate) left: u32,
    /// The corners of the line, in SVG's form.
    pub(crate) line: String,
    pub(crate) dots: Vec<Dot>,
    /// What the plot says, for a person who cannot see it.
    pub(crate) sentence: String,
}

/// A version and its position.
#[derive(Clone, Debug)]
pub(crate) struct Dot {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) label: String,
    pub(crate) label_y: u32,
    pub(crate) version: String,
    pub(crate) is_hollow: bool,
    pub(crate) has_text: bool,
}

const STEP: u32 = 78;
const LEFT: u32 = 48;
const TOP: u32 = 30;
const PLOT: u32 = 150;
const BOTTOM: u32 = 30;
/// With more versions than this, only some of them have texts.
const TEXTS: usize = 12;
/// How many characters of a version are written below it. The table has all.
const VERSION_CHARACTERS: usize = 11;

impl Trend {
    /// The plot of versions in their order; `None` for fewer than two.
    pub(crate) fn of(points: &[Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        if points.len() < 2 {
            return None;
        }
        let most = points.iter().map(|point| point.count).max()?.max(1);
        let step = if points.len() > TEXTS { STEP / 2 } else { STEP };
        let every = points.len().div_ceil(TEXTS);
        let dot = |(nth, point): (usize, &Point)| {
            let x = LEFT + step * u32::try_from(nth).unwrap_or(u32::MAX / STEP);
            let rise = u64::from(PLOT) * u64::from(point.count) / u64::from(most);
            let y = TOP + PLOT - u32::try_from(rise).unwrap_or(PLOT);
            let is_last = nth + 1 == points.len();
            Dot {
                x,
                y,
                label: format!("{} {}", point.count, point.rating),
                label_y: y - 10,
                version: shortened(&point.version),
                is_hollow: point.is_prerelease,
                has_text: is_last || (nth.is_multiple_of(every) && nth + every <= points.len()),
            }
        };
        let dots: Vec<Dot> = points.iter().enumerate().map(dot).collect();
        let corners = dots.iter().map(|dot| format!("{},{}", dot.x, dot.y));
        Some(Self {
            width: dots.last()?.x + LEFT,
            height: TOP + PLOT + BOTTOM,
            base: TOP + PLOT,
            left: LEFT,
            line: corners.collect::<Vec<_>>().join(" "),
            sentence: format!(
                "Vulnerabilities of {} reports by version: from {} in {} (rating {}) to {} in {} (rating {})",
                points.len(),
                first.count,
                first.version,
                first.rating,
                last.count,
                last.version,
                last.rating,
            ),
            dots,
        })
    }
}

fn shortened(version: &str) -> String {
    if version.chars().count() <= VERSION_CHARACTERS {
        return version.to_owned();
    }
    let kept: String = version.chars().take(VERSION_CHARACTERS - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(version: &str, count: u32) -> Point {
        Point {
            version: version.to_owned(),
            count,
            rating: "C".to_owned(),
            is_prerelease: version.contains('-'),
        }
    }

    #[test]
    fn more_vulnerabilities_are_drawn_higher() {
        let trend = Trend::of(&[point("1.0", 10), point("1.1-rc.1", 0), point("1.1", 5)]);
        let trend = trend.unwrap();
        let heights: Vec<u32> = trend.dots.iter().map(|dot| trend.base - dot.y).collect();
        assert_eq!(heights, [PLOT, 0, PLOT / 2]);
        assert!(trend.dots[1].is_hollow && !trend.dots[2].is_hollow);
        assert_eq!(trend.dots[0].label, "10 C");
        assert!(
            trend.sentence.contains("from 10 in 1.0"),
            "{}",
            trend.sentence
        );
    }

    #[test]
    fn a_plot_needs_two_points_and_bears_any_numbers() {
        assert!(Trend::of(&[]).is_none());
        assert!(Trend::of(&[point("1", 1)]).is_none());
        let zero = Trend::of(&[point("1", 0), point("2", 0)]).unwrap();
        assert!(zero.dots.iter().all(|dot| dot.y == zero.base));
        let many: Vec<Point> = (0..50)
            .map(|it| point(&"9".repeat(100), u32::MAX - it))
            .collect();
        let many = Trend::of(&many).unwrap();
        assert!(many.dots.iter().filter(|dot| dot.has_text).count() <= TEXTS + 1);
    }
}
