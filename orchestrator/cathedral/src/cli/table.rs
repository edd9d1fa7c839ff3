//! Plain tables: aligned for people, tab-separated nowhere; JSON is for scripts.

use super::output::{Output, Tint};

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
        let columns = self.head.len();
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
            cells.chain([self.head[i].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |cells: &[String]| {
            let mut text = String::from("  ");
            for (i, cell) in cells.iter().enumerate() {
                text.push_str(cell);
                if i + 1 < columns {
                    text.push_str(&" ".repeat(widths[i].saturating_sub(cell.chars().count()) + 2));
                }
            }
            text.trim_end().to_owned()
        };
        let head: Vec<String> = self.head.iter().map(|h| (*h).to_owned()).collect();
        output.say(output.paint(Tint::Dim, &line(&head)));
        for row in &self.rows {
            output.say(line(row));
        }
    }
}
