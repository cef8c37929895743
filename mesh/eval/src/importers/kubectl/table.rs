//! Tables: a header, and columns below it.

/// A table whose columns are found by its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table<'a> {
    /// The columns' names, and the letter at which each begins.
    columns: Vec<(&'a str, usize)>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row<'t, 'a> {
    table: &'t Table<'a>,
    cells: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// Reads a header.
    pub(super) fn of(header: &'a str) -> Self {
        let mut columns = Vec::new();
        let mut rest = header;
        let mut at = 0;
        loop {
            let blank = rest.chars().take_while(|letter| letter.is_whitespace()).count();
            rest = rest.trim_start();
            at += blank;
            if rest.is_empty() {
                return Self { columns };
            }
            let (name, after) = split(rest);
            columns.push((name, at));
            at += name.chars().count();
            rest = after;
        }
    }

    /// Says whether all of these columns are there.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.columns.iter().any(|(column, _)| column == name))
    }

    /// Reads a row: by its gaps, or by the header's columns where a cell is empty.
    pub(super) fn row(&self, line: &'a str) -> Row<'_, 'a> {
        let mut cells = Vec::new();
        let mut rest = line.trim();
        while cells.len() + 1 < self.columns.len() && !rest.is_empty() {
            let (cell, after) = split(rest);
            cells.push(cell);
            rest = after.trim_start();
        }
        if !rest.is_empty() {
            cells.push(rest);
        }
        if cells.len() < self.columns.len() {
            let ends = self.columns.iter().skip(1).map(|(_, at)| *at).chain([usize::MAX]);
            let starts = self.columns.iter().map(|(_, at)| *at);
            cells = starts.zip(ends).map(|(start, end)| letters(line, start, end)).collect();
        }
        Row { table: self, cells }
    }
}

impl<'a> Row<'_, 'a> {
    /// Says whether there is such a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.table.has(&[column])
    }

    /// Returns the cell of a column; `<none>` and the like are none. Of `pod/cart-1`, as several
    /// kinds are listed, the name is what was asked for.
    pub(super) fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.table.columns.iter().position(|(name, _)| *name == column)?;
        let cell = self.cells.get(at)?.trim();
        let cell =
            cell.rsplit_once('/').filter(|_| column == "NAME").map_or(cell, |(_, name)| name);
        (!matches!(cell, "" | "<none>" | "<unset>" | "<unknown>" | "-")).then_some(cell)
    }
}

/// Splits off what comes before the first gap of two blanks or a tab.
fn split(text: &str) -> (&str, &str) {
    let gap = [text.find("  "), text.find('\t')].into_iter().flatten().min();
    text.split_at_checked(gap.unwrap_or(text.len())).unwrap_or((text, ""))
}

/// Returns the letters from `start` to before `end`.
fn letters(line: &str, start: usize, end: usize) -> &str {
    let byte = |letter: usize| line.char_indices().nth(letter).map_or(line.len(), |(at, _)| at);
    line.get(byte(start)..byte(end)).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_are_found_by_gaps_and_empty_ones_by_the_header() {
        let header = "NAME          READY   STATUS    RESTARTS         AGE";
        let table = Table::of(header);
        let row = table.row("├── cart-1    1/1               21 (3m17s ago)   31d");
        assert_eq!((row.get("READY"), row.get("STATUS")), (Some("1/1"), None));
        assert_eq!((row.get("RESTARTS"), row.get("AGE")), (Some("21 (3m17s ago)"), Some("31d")));
        let shifted = table.row("a-name-that-is-much-longer  0/1  Error  0  <none>");
        assert_eq!((shifted.get("STATUS"), shifted.get("AGE")), (Some("Error"), None));
        assert_eq!(shifted.get("IP"), None);
    }

    #[test]
    fn the_last_cell_keeps_its_gaps() {
        let table = Table::of("Type  Reason  Message");
        assert!(table.has(&["Type", "Message"]) && !table.has(&["Age"]));
        let row = table.row("Warning  Failed  no  such  image");
        assert_eq!(row.get("Message"), Some("no  such  image"));
    }

    proptest! {
        #[test]
        fn no_text_panics(header in ".*", line in ".*", name in ".*") {
            let table = Table::of(&header);
            table.row(&line).get(&name);
        }
    }
}
