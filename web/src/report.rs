//! The report of `cathedral demo` as a page that needs nothing but itself: no script, no other file.

use askama::Template;

/// Why a page could not be written.
pub type PageError = askama::Error;

/// One line of a table.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub state: String,
    pub detail: String,
}

/// The page.
#[derive(Debug, Clone, Template)]
#[template(path = "report.html")]
pub struct Page {
    pub sentence: String,
    pub good: bool,
    pub seconds: String,
    pub merged: Vec<Row>,
    pub waits: Vec<Row>,
    pub compared: Vec<Row>,
    pub snapshot: String,
    pub root: String,
    pub stored: String,
    pub logical: String,
    pub log_size: String,
    pub log_root: String,
    pub hub: String,
}

impl Page {
    /// Writes the page.
    pub fn render(&self) -> Result<String, PageError> {
        Template::render(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text() {
        let row = Row { name: "<script>alert(1)</script>".into(), state: "\"><u>".into(), detail: "a & b".into() };
        let page = Page {
            sentence: "Everything can be restored.".into(),
            good: true,
            seconds: "1.0".into(),
            merged: vec![row.clone()],
            waits: vec![row.clone()],
            compared: vec![row],
            snapshot: String::new(),
            root: String::new(),
            stored: String::new(),
            logical: String::new(),
            log_size: String::new(),
            log_root: String::new(),
            hub: "/tmp/<i>".into(),
        };
        let html = page.render().unwrap();
        assert!(!html.contains("<script>alert"));
        assert!(!html.contains("<u>"));
        assert!(!html.contains("<i>"));
        assert_eq!(html.matches("&#60;script&#62;").count(), 3);
    }
}
