//! Plain tables: aligned for people, wrapped where a terminal is narrow; JSON is for scripts.

use unicode_width::UnicodeWidthStr as _;

use super::output::{Output, Tint, wrap};

/// A column is not made narrower than this; a table that would need it becomes a list.
const NARROWEST: usize = 12;

/// Rows under a head; the last column takes what is left.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: vec![] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the table indented by two.
    pub fn print(&self, output: &Output) {
        for (index, line) in self.lines(output.room()).into_iter().enumerate() {
            let is_head = index == 0 && self.head.iter().all(|name| line.contains(name));
            output.say(if is_head { output.paint(Tint::Dim, &line) } else { line });
        }
    }

    /// The lines of the table, none longer than `room` if that is given and at least 20.
    fn lines(&self, room: Option<usize>) -> Vec<String> {
        let natural: Vec<usize> = (0..self.head.len())
            .map(|i| self.rows.iter().filter_map(|r| r.get(i)).map(|c| c.width()).chain([self.head[i].len()]).max())
            .map(Option::unwrap_or_default)
            .collect();
        let Some(widths) = fit(&natural, &self.head, room) else { return self.cards(room.unwrap_or(usize::MAX)) };
        let head: Vec<String> = self.head.iter().map(|h| (*h).to_owned()).collect();
        std::iter::once(&head).chain(&self.rows).flat_map(|row| wrapped(row, &widths)).collect()
    }

    /// Each row as a small list, for terminals that are too narrow for columns.
    fn cards(&self, room: usize) -> Vec<String> {
        let label = self.head.iter().map(|h| h.len()).max().unwrap_or(0);
        let mut out = vec![];
        for row in &self.rows {
            for (index, (head, cell)) in self.head.iter().zip(row).enumerate() {
                // What is nothing takes a line of a list, but no room in a table.
                if cell.is_empty() || (index > 0 && matches!(cell.as_str(), "-" | "0")) {
                    continue;
                }
                let indent = if index == 0 { 2 } else { 4 };
                let width = room.saturating_sub(label + 6).max(8);
                let first = format!("{:indent$}{head:<w$}", "", w = label + 6 - indent);
                for (number, line) in wrap(cell, width, 0).lines().enumerate() {
                    let lead = if number == 0 { first.clone() } else { " ".repeat(label + 6) };
                    out.push(format!("{lead}{line}"));
                }
            }
        }
        out
    }
}

/// Widths that fit, the widest columns made narrower first; none when they cannot.
fn fit(natural: &[usize], head: &[&str], room: Option<usize>) -> Option<Vec<usize>> {
    let mut widths = natural.to_vec();
    let Some(room) = room else { return Some(widths) };
    let between = 2 * widths.len();
    while widths.iter().sum::<usize>() + between > room {
        let least = |i: usize| natural[i].min(NARROWEST.max(head[i].len()));
        let widest = (0..widths.len()).filter(|i| widths[*i] > least(*i)).max_by_key(|i| widths[*i])?;
        widths[widest] -= 1;
    }
    Some(widths)
}

fn wrapped(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells: Vec<Vec<String>> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| wrap(cell, *width, 0).lines().map(str::to_owned).collect())
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let line = |number: usize| {
        let mut text = String::from("  ");
        for (cell, width) in cells.iter().zip(widths) {
            let part = cell.get(number).map_or("", String::as_str);
            text.push_str(part);
            text.push_str(&" ".repeat(width.saturating_sub(part.width()) + 2));
        }
        text.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "SPOKE", "KIND", "WHERE", "OPENED", "STATE"]);
        let place = "shared path shared/archetypes of stone-grimoire";
        for cells in [
            ["1", "stone-grimoire", "update/update", place, "18 s ago", "open"],
            [
                "2",
                "codex",
                "delete/update",
                "a-file-of-one-very-long-word-that-cannot-be-broken-at-any-blank.txt",
                "",
                "",
            ],
            [
                "3",
                "codex",
                "delete/update",
                "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字",
                "18 s ago",
                "open",
            ],
        ] {
            table.row(cells.map(str::to_owned).to_vec());
        }
        table
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_nothing_is_lost() {
        for room in [20, 30, 40, 50, 60, 70, 79, 80, 100, 120, 200] {
            let lines = table().lines(Some(room));
            for line in &lines {
                assert!(line.width() <= room, "{room}: {} columns: {line:?}", line.width());
                assert_eq!(line.trim_end(), line);
            }
            let all: String = lines.concat().chars().filter(|c| !c.is_whitespace()).collect();
            for word in ["stone-grimoire", "delete/update", "1", "open"] {
                assert!(room < 40 || all.contains(word), "{room}: {word} is lost: {all}");
            }
            assert_eq!(all.matches('漢').count(), 15, "{room}");
        }
    }

    #[test]
    fn a_pipe_gets_one_line_for_each_row() {
        assert_eq!(table().lines(None).len(), 4);
        assert_eq!(table().lines(Some(200)), table().lines(None));
    }

    #[test]
    fn a_narrow_terminal_gets_a_list() {
        let lines = table().lines(Some(40));
        assert_eq!(lines[0], "  ID        1");
        assert_eq!(lines[1], "    SPOKE   stone-grimoire");
    }
}
