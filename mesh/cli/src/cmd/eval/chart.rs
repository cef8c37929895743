//! The paper that the pictures of `tapio eval` are drawn on.

use std::fmt::{self, Write as _};

/// Colours of lines, told apart by people who see few colours, on light and on dark.
/// Source: Paul Tol's bright scheme.
pub(super) const COLORS: [&str; 6] =
    ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"];

/// A field in which both axes are shares from 0 to 1, with room around it.
#[derive(Debug)]
pub(super) struct Chart {
    svg: String,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Chart {
    /// Begins a picture: `size` of the field, and `below` of room under it.
    pub(super) fn new(title: &str, (width, height): (f64, f64), below: f64) -> Self {
        let (left, top) = (44.0, 34.0);
        let title = escaped(title);
        let (whole_width, whole_height) = (left + width + 16.0, top + height + below);
        let mut chart = Self { svg: String::new(), left, top, width, height };
        chart.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole_width:.0} \
             {whole_height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>\n\
             text {{ font: 10px sans-serif; fill: #333 }} .title {{ font-size: 13px }}\n\
             .grid {{ stroke: #999; stroke-opacity: .35 }} .ideal {{ stroke: #999; \
             stroke-dasharray: 4 3 }}\n.bar {{ fill: #4477aa; fill-opacity: .7 }} \
             .gap {{ stroke: #ee6677; stroke-width: 2 }}\n\
             .line {{ fill: none; stroke-width: 1.5 }}\n\
             @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}\n</style>\n\
             <text class=\"title\" x=\"{left:.0}\" y=\"18\">{title}</text>"
        ));
        chart
    }

    /// Draws lines across at every fifth, with their shares.
    pub(super) fn shares_across(&mut self) {
        for fifth in 0..=5_u8 {
            let share = f64::from(fifth) / 5.0;
            let ((from, y), (to, _)) = (self.at(0.0, share), self.at(1.0, share));
            self.put(format_args!(
                "<line class=\"grid\" x1=\"{from:.1}\" y1=\"{y:.1}\" x2=\"{to:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{share:.1}</text>",
                from - 5.0,
                y + 3.5,
            ));
        }
    }

    /// Writes below the field, in this row, centred at this share of the width.
    pub(super) fn below(&mut self, across: f64, row: u8, text: &str) {
        let (x, y) = self.at(across, 0.0);
        let (y, text) = (y + 14.0 * f64::from(row + 1), escaped(text));
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>"
        ));
    }

    /// Draws a line from point to point, of a class or with a colour.
    pub(super) fn line(&mut self, look: Look, points: &[(f64, f64)]) {
        let places = points.iter().map(|(across, up)| {
            let (x, y) = self.at(*across, *up);
            format!("{x:.1},{y:.1}")
        });
        let places = places.collect::<Vec<_>>().join(" ");
        match look {
            Look::Class(class) => self.put(format_args!(
                "<polyline class=\"{class}\" points=\"{places}\" fill=\"none\"/>"
            )),
            Look::Color(color) => self.put(format_args!(
                "<polyline class=\"line\" stroke=\"{color}\" points=\"{places}\"/>"
            )),
        }
    }

    /// Draws a dot that says what it is.
    pub(super) fn dot(&mut self, color: &str, (across, up): (f64, f64), says: &str) {
        let ((x, y), says) = (self.at(across, up), escaped(says));
        self.put(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"><title>{says}</title>\
             </circle>"
        ));
    }

    /// Draws a bar from the ground up to a share.
    pub(super) fn bar(&mut self, (from, to): (f64, f64), up: f64, says: &str) {
        let ((x, y), (end, ground)) = (self.at(from, up), self.at(to, 0.0));
        let says = escaped(says);
        self.put(format_args!(
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{says}</title></rect>",
            x + 1.0,
            end - x - 2.0,
            ground - y,
        ));
    }

    /// Writes names in their colours below the field, from this row on, three a row.
    pub(super) fn legend(&mut self, row: u8, names: &[(&str, String)]) {
        for (number, (color, name)) in (0_u8..).zip(names) {
            let (x, y) = self.at(f64::from(number % 3) / 3.0, 0.0);
            let y = y + 14.0 * f64::from(row + 1 + number / 3);
            let name = escaped(name);
            self.put(format_args!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"{color}\"/>\
                 <text x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
                y - 8.0,
                x + 12.0,
            ));
        }
    }

    /// Returns the picture.
    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    fn at(&self, across: f64, up: f64) -> (f64, f64) {
        let (across, up) = (across.clamp(0.0, 1.0), up.clamp(0.0, 1.0));
        (self.width.mul_add(across, self.left), self.height.mul_add(1.0 - up, self.top))
    }

    fn put(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.svg, "{line}").unwrap_or_default();
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// As the style sheet says of this class.
    Class(&'static str),
    /// In this colour.
    Color(&'static str),
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_escaped_and_stays_in_its_field() {
        let mut chart = Chart::new("a <b> & \"c\"", (100.0, 100.0), 20.0);
        chart.dot("#fff", (7.0, -1.0), "x < y");
        let svg = chart.finish();
        assert!(svg.contains("a &lt;b> &amp; &quot;c&quot;") && svg.contains("x &lt; y"), "{svg}");
        assert!(svg.contains("cx=\"144.0\" cy=\"134.0\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
