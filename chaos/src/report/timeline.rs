//! A picture of a run: who owned which shard when, and what was done to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use tapio_model::{ShardId, Text};

use crate::{
    fault::FaultKind,
    record::{FaultSeen, Record, RootSeen},
};

/// Colours of owners, told apart by people who see few colours, on light and on dark.
/// Source: Paul Tol's bright scheme.
const COLORS: [&str; 6] = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"];

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 70.0;
const ROW: f64 = 14.0;
const LANE: f64 = 13.0;
const TOP: f64 = 40.0;
const LEGEND: f64 = 44.0;

/// A time in which a shard had one owner.
#[derive(Debug, PartialEq)]
struct Reign {
    owner: Text,
    epoch: u64,
    from: Duration,
    to: Duration,
}

/// Draws a run as SVG.
#[must_use]
pub fn timeline(record: &Record, title: &str) -> String {
    let end = end_of(record);
    let scale = |at: Duration| LEFT + (WIDTH - LEFT) * ratio(at, end);
    let reigns = reigns(record, end);
    let owners: BTreeSet<&Text> = reigns.values().flatten().map(|reign| &reign.owner).collect();
    let owners: Vec<_> = owners.into_iter().collect();
    let lanes = lanes(&record.faults, end);
    let lane_count = lanes.iter().map(|(lane, _)| lane + 1).max().unwrap_or(0);
    let rows_top = TOP + LANE * units(lane_count) + 8.0;
    let height = rows_top + ROW * units(reigns.len()) + LEGEND;
    let mut svg = head(height, title);
    for (lane, fault) in lanes {
        let top = TOP + LANE * units(lane);
        draw_fault(
            &mut svg,
            fault,
            (scale(fault.at), scale(fault.ended.unwrap_or(end))),
            (top, height),
        );
    }
    for (row, (shard, reigns)) in reigns.iter().enumerate() {
        let top = ROW.mul_add(units(row), rows_top);
        put(
            &mut svg,
            format_args!(
                r#"<text x="{:.0}" y="{:.1}" text-anchor="end">shard {shard}</text>"#,
                LEFT - 6.0,
                top + ROW - 4.0
            ),
        );
        for reign in reigns {
            let color = color(&owners, &reign.owner);
            draw_reign(&mut svg, reign, (scale(reign.from), scale(reign.to)), (top, color));
            if let Some(down) = downtime(record, reign) {
                draw_gap(&mut svg, (scale(down), scale(reign.to)), top);
            }
        }
    }
    draw_axis(&mut svg, end, height - LEGEND + 14.0, scale);
    draw_legend(&mut svg, &owners, height - 10.0);
    svg.push_str("</svg>\n");
    svg
}

fn head(height: f64, title: &str) -> String {
    let mut svg = String::new();
    let title = escaped(title);
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\">\n\
         <title>{title}</title>\n<style>\n\
         text {{ font: 10px sans-serif; fill: #333 }} .title {{ font-size: 13px }}\n\
         .fault {{ fill: #888; fill-opacity: .35 }} .band {{ fill: #888; fill-opacity: .12 }}\n\
         .gap {{ fill: #fff; fill-opacity: .75; stroke: #c00; stroke-width: .5 }} .axis {{ stroke: #999 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .gap {{ fill: #111 }} }}\n\
         </style>\n<text class=\"title\" x=\"{LEFT:.0}\" y=\"18\">{title}</text>",
            WIDTH + 12.0
        ),
    );
    svg
}

fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(svg, "{line}").unwrap_or_default();
}

fn draw_fault(
    svg: &mut String,
    fault: &FaultSeen,
    (from, to): (f64, f64),
    (top, height): (f64, f64),
) {
    let width = (to - from).max(2.0);
    let targets: Vec<_> = fault.targets.iter().map(Text::as_str).collect();
    let label = escaped(&format!("{} {}", fault.kind.name(), targets.join(" ")));
    put(
        svg,
        format_args!(
            "<rect class=\"band\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>\
         <rect class=\"fault\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\">\
         <title>{label}</title></rect><text x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            height - LEGEND - top,
            LANE - 2.0,
            from + 2.0,
            top + LANE - 4.0
        ),
    );
}

fn draw_reign(svg: &mut String, reign: &Reign, (from, to): (f64, f64), (top, color): (f64, &str)) {
    let Reign { owner, epoch, .. } = reign;
    let owner = escaped(owner);
    put(
        svg,
        format_args!(
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{color}\">\
         <title>{owner}, epoch {epoch}</title></rect>",
            (to - from).max(1.0),
            ROW - 3.0
        ),
    );
}

fn draw_gap(svg: &mut String, (from, to): (f64, f64), top: f64) {
    put(
        svg,
        format_args!(
            "<rect class=\"gap\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
         <title>its owner was down</title></rect>",
            (to - from).max(0.5),
            ROW - 3.0
        ),
    );
}

fn draw_axis(svg: &mut String, end: Duration, y: f64, scale: impl Fn(Duration) -> f64) {
    let step = [1, 2, 5, 10, 20, 60, 300].into_iter().find(|step| end.as_secs() / step <= 12);
    let step = step.unwrap_or(600);
    let mut at = Duration::ZERO;
    while at <= end {
        let (x, secs) = (scale(at), at.as_secs());
        put(
            svg,
            format_args!(
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{secs} s</text>",
                y - 14.0,
                y - 10.0
            ),
        );
        at += Duration::from_secs(step);
    }
}

fn draw_legend(svg: &mut String, owners: &[&Text], y: f64) {
    let mut x = LEFT;
    for owner in owners {
        let (color, name) = (color(owners, owner), escaped(owner));
        put(
            svg,
            format_args!(
                "<rect x=\"{x:.0}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{color}\"/>\
             <text x=\"{:.0}\" y=\"{y:.1}\">{name}</text>",
                y - 9.0,
                x + 14.0
            ),
        );
        x += 90.0;
    }
    put(
        svg,
        format_args!(
            "<rect class=\"gap\" x=\"{x:.0}\" y=\"{:.1}\" width=\"10\" height=\"10\"/>\
         <text x=\"{:.0}\" y=\"{y:.1}\">owner down</text>",
            y - 9.0,
            x + 14.0
        ),
    );
}

/// Returns who reigned when, by shard. A reign ends when it is let go, or with the next claim.
fn reigns(record: &Record, end: Duration) -> BTreeMap<ShardId, Vec<Reign>> {
    let mut reigns: BTreeMap<ShardId, Vec<Reign>> = BTreeMap::new();
    let mut released: BTreeMap<ShardId, u64> = BTreeMap::new();
    for root in &record.roots {
        let RootSeen { shard, epoch, at, .. } = *root;
        let of_shard = reigns.entry(shard).or_default();
        if released.get(&shard) == Some(&epoch) {
            continue;
        }
        let is_new = of_shard.last().is_none_or(|reign| reign.epoch != epoch);
        if is_new && let Some(owner) = &root.owner {
            if let Some(before) = of_shard.last_mut() {
                before.to = before.to.min(at);
            }
            of_shard.push(Reign { owner: owner.name.clone(), epoch, from: at, to: end });
        }
        if root.is_released {
            released.insert(shard, epoch);
            if let Some(reign) = of_shard.last_mut() {
                reign.to = at;
            }
        }
    }
    reigns
}

/// Returns from when on a reign was one in name only: its owner was dead, paused or cut off, and
/// somebody else came after it.
fn downtime(record: &Record, reign: &Reign) -> Option<Duration> {
    let takes_down = |fault: &&FaultSeen| {
        matches!(
            fault.kind,
            FaultKind::KillNode
                | FaultKind::PauseNode
                | FaultKind::PartitionNode
                | FaultKind::SkewClock
        ) && fault.targets.contains(&reign.owner)
            && fault.at >= reign.from
            && fault.at < reign.to
            && fault
                .ended
                .is_none_or(|ended| ended >= reign.to || fault.kind != FaultKind::PauseNode)
    };
    record.faults.iter().filter(takes_down).map(|fault| fault.at).min()
}

/// Lays faults out so that those of one lane do not overlap, their labels included.
fn lanes(faults: &[FaultSeen], end: Duration) -> Vec<(usize, &FaultSeen)> {
    let label = end.mul_f64(0.14);
    let mut free: Vec<Duration> = Vec::new();
    let mut laid = Vec::new();
    for fault in faults {
        let until = fault.ended.unwrap_or(end).max(fault.at + label);
        match free.iter().position(|free| *free <= fault.at) {
            Some(lane) => {
                if let Some(free) = free.get_mut(lane) {
                    *free = until;
                }
                laid.push((lane, fault));
            }
            None => {
                laid.push((free.len(), fault));
                free.push(until);
            }
        }
    }
    laid
}

fn end_of(record: &Record) -> Duration {
    let roots = record.roots.iter().map(|root| root.at);
    let faults = record.faults.iter().map(|fault| fault.ended.unwrap_or(fault.at));
    roots.chain(faults).max().unwrap_or_default().max(Duration::from_secs(1))
}

fn color(owners: &[&Text], owner: &Text) -> &'static str {
    let place = owners.iter().position(|known| *known == owner).unwrap_or_default();
    COLORS.get(place % COLORS.len()).copied().unwrap_or("#888888")
}

fn ratio(at: Duration, end: Duration) -> f64 {
    (at.as_secs_f64() / end.as_secs_f64()).clamp(0.0, 1.0)
}

/// Counts rows and lanes in the units of the picture.
fn units(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::sample;

    #[test]
    fn a_reign_ends_with_the_next_claim_or_when_it_is_let_go() {
        let mut record = sample::good();
        let end = Duration::from_secs(1);
        let spans = |record: &Record| {
            let all = reigns(record, end).into_values().flatten();
            all.map(|it| (it.from.as_millis(), it.to.as_millis())).collect::<Vec<_>>()
        };
        assert_eq!(spans(&record), [(10, 300), (300, 1_000)]);
        record.roots[1].is_released = true;
        assert_eq!(spans(&record), [(10, 200), (300, 1_000)]);
    }

    #[test]
    fn faults_of_one_time_get_lanes_of_their_own() {
        let fault = |at, ended| FaultSeen {
            at: Duration::from_secs(at),
            ended: Some(Duration::from_secs(ended)),
            kind: FaultKind::KillNode,
            targets: Vec::new(),
        };
        let faults = [fault(0, 20), fault(10, 30), fault(40, 50)];
        let lanes = lanes(&faults, Duration::from_secs(100));
        assert_eq!(lanes.iter().map(|(lane, _)| *lane).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn the_picture_names_owners_and_escapes_what_it_is_told() {
        let svg = timeline(&sample::good(), "a <run> & \"more\"");
        for part in ["tapio-0", "tapio-1", "shard 3", "a &lt;run> &amp; &quot;more&quot;", "</svg>"]
        {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.contains("prefers-color-scheme: dark"));
    }
}
