//! Tables for people: aligned columns that fit the terminal.
//!
//! In a pipe a table takes the width that it needs. On a terminal that is too narrow, the columns that matter
//! least are left out first, then the last column is wrapped or cut; no other cell ever breaks.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, presets::NOTHING};

/// A column by its header.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    header: &'static str,
    number: bool,
    /// Left out where there is no room; the highest goes first.
    spare: Option<u8>,
}

impl Column {
    /// A column of text that is always shown.
    pub const fn text(header: &'static str) -> Self {
        Self { header, number: false, spare: None }
    }

    /// A column of numbers, aligned to the right.
    pub const fn number(header: &'static str) -> Self {
        Self { header, number: true, spare: None }
    }

    /// Left out on a narrow terminal, before those with a lower rank.
    #[must_use]
    pub const fn spare(self, rank: u8) -> Self {
        Self { spare: Some(rank), ..self }
    }
}

/// What happens to the last column where its text does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// It goes on in the next line.
    Wrap,
    /// It ends with "…".
    Cut,
}

/// The least width that the last column gets before other columns are left out for it.
const LAST_COLUMN: usize = 24;

/// The width of the terminal on standard output; none where that is no terminal.
pub fn terminal_width() -> Option<usize> {
    Table::new().width().map(usize::from)
}

/// The table as text with ANSI styles, ending in a newline. `width` is the room that there is, in columns.
pub fn rendered(columns: &[Column], rows: Vec<Vec<Cell>>, overflow: Overflow, width: Option<usize>) -> String {
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
    let shown = match width {
        Some(width) => fitting(columns, &natural_widths(columns, &rows), width),
        None => (0..columns.len()).collect(),
    };
    let mut table = Table::new();
    // where no colours are wanted they are removed on the way to standard output
    table.load_style(NOTHING).enforce_styling();
    table.set_header(shown.iter().map(|&at| columns[at].header));
    for row in rows {
        let mut row = Row::from(shown.iter().filter_map(|&at| row.get(at).cloned()).collect::<Vec<_>>());
        if overflow == Overflow::Cut {
            row.max_height(1);
        }
        table.add_row(row);
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    for (place, &at) in shown.iter().enumerate() {
        let Some(column) = table.column_mut(place) else { continue };
        if columns[at].number {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if width.is_some() && place + 1 < shown.len() {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    format!("{}\n", table.trim_fmt())
}

/// The width of each column's widest cell, its header included.
fn natural_widths(columns: &[Column], rows: &[Vec<Cell>]) -> Vec<usize> {
    let mut measured = Table::new();
    measured.set_header(columns.iter().map(|column| column.header));
    for row in rows {
        measured.add_row(row.clone());
    }
    measured.column_max_content_widths().into_iter().map(usize::from).collect()
}

/// The columns that are shown at this width, by their places.
fn fitting(columns: &[Column], widths: &[usize], width: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    loop {
        let needed = |at: &usize| {
            let content = widths.get(*at).copied().unwrap_or_default();
            // a space on each side
            2 + if at + 1 == columns.len() { content.min(LAST_COLUMN) } else { content }
        };
        let least: usize = shown.iter().map(needed).sum();
        let spare = shown.iter().copied().filter(|&at| columns[at].spare.is_some()).max_by_key(|&at| columns[at].spare);
        match spare {
            Some(spare) if least > width => shown.retain(|&at| at != spare),
            _ => return shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use comfy_table::Color;
    use expect_test::expect;

    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::text(""), Column::text("NAME"), Column::number("COUNT").spare(1), Column::text("NOTE")];

    fn table(overflow: Overflow, width: Option<usize>) -> String {
        let row = |name: &str, count: u32, note: &str| {
            vec![Cell::new("●").fg(Color::Green), Cell::new(name), Cell::new(count), Cell::new(note)]
        };
        let rows = vec![row("ann", 7, ""), row("a-longer-name", 1234, "the server answered with words that go on")];
        // a first line without indentation, by which the others are compared
        format!("table\n{}", strip_str(&rendered(&COLUMNS, rows, overflow, width)))
    }

    #[test]
    fn a_pipe_gets_all_of_it_with_aligned_headers() {
        expect![[r#"
            table
                NAME           COUNT  NOTE
             ●  ann                7
             ●  a-longer-name   1234  the server answered with words that go on
        "#]]
        .assert_eq(&table(Overflow::Cut, None));
    }

    #[test]
    fn a_narrow_terminal_cuts_or_wraps_the_last_column_alone() {
        expect![[r#"
            table
                NAME           COUNT  NOTE
             ●  ann                7
             ●  a-longer-name   1234  the server answered with…
        "#]]
        .assert_eq(&table(Overflow::Cut, Some(53)));
        expect![[r#"
            table
                NAME           COUNT  NOTE
             ●  ann                7
             ●  a-longer-name   1234  the server answered with
                                      words that go on
        "#]]
        .assert_eq(&table(Overflow::Wrap, Some(53)));
    }

    #[test]
    fn a_narrower_one_loses_the_spare_columns_first() {
        expect![[r#"
            table
                NAME           NOTE
             ●  ann
             ●  a-longer-name  the server answered with…
        "#]]
        .assert_eq(&table(Overflow::Cut, Some(46)));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 30..100 {
            for overflow in [Overflow::Cut, Overflow::Wrap] {
                let text = table(overflow, Some(width));
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            }
        }
    }
}
