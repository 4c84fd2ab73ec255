//! Byte offsets of a text as the lines and columns that editors show.

/// Where something stands: both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A text and where its lines begin.
#[derive(Debug)]
pub(super) struct SourceText<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> SourceText<'a> {
    /// Looks for the line ends, once.
    pub(super) fn new(text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: std::iter::once(0).chain(starts).collect() }
    }

    /// The place of a byte; one beyond the end counts as the end.
    pub(super) fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_of(offset);
        let start = self.lines.get(line.wrapping_sub(1)).copied().unwrap_or_default();
        Place { line, column: self.text[start..offset].trim_start_matches('\u{feff}').chars().count() + 1 }
    }

    /// The line of a byte alone, which is cheap however long the lines are.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset.min(self.text.len()))
    }

    /// A line's text, counted from 1, without its end.
    pub(super) fn line(&self, number: usize) -> &'a str {
        let Some(start) = number.checked_sub(1).and_then(|index| self.lines.get(index)) else { return "" };
        self.text[*start..].lines().next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let text = SourceText::new("a\nbé = 1\r\n\n");
        let place = |offset| {
            let place = text.place(offset);
            (place.line, place.column)
        };
        assert_eq!([place(0), place(1), place(2), place(5), place(6)], [(1, 1), (1, 2), (2, 1), (2, 3), (2, 4)]);
        assert_eq!([place(11), place(12), place(999)], [(3, 1), (4, 1), (4, 1)]);
        assert_eq!([text.line(2), text.line(3), text.line(4), text.line(0), text.line(9)], ["bé = 1", "", "", "", ""]);
        assert_eq!(SourceText::new("\u{feff}x = 1").place(3).column, 1);
    }
}
