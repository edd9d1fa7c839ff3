//! The block subset of YAML: maps and lists by indentation, scalars on one line, block scalars.
//!
//! What is not read here is declined, never guessed: anchors, aliases, tags, merge keys, complex keys, tabs in the
//! indent, flow collections and plain or quoted scalars over several lines, streams of documents.

use super::flow::check_duplicates;
use super::node::{Body, DEPTH_LIMIT, Digest, Doc, Fault, Member, NODE_LIMIT, Node, Style, broken, unsupported};
use super::toml::file_head;

/// Reads a YAML document.
pub(crate) fn parse(src: &str) -> Result<Doc<'_>, Fault> {
    let mut reader = Reader { src, pos: 0, nodes: 0 };
    let mut start = 0;
    if let Some(line) = reader.next_content(0)?
        && reader.content(line).starts_with("---")
    {
        let marker = reader.content(line);
        let rest = marker[3..].trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            return Err(unsupported("a value on the line of the document marker"));
        }
        start = line.end;
    }
    let Some(first) = reader.next_content(start)? else {
        return Err(unsupported("no keys"));
    };
    let content = reader.content(first);
    let is_list = is_item(content);
    if !is_list && key_end(content)?.is_none() {
        return Err(unsupported("a single value"));
    }
    let lead = &src[start..first.start + first.indent];
    let head = start + file_head(&lead[..lead.len() - first.indent]);
    reader.pos = head;
    let mut root = reader.container(first.indent, is_list, Style::Block, 0)?;
    if let Some(line) = reader.next_content(reader.pos)? {
        return Err(broken("unexpected indent", src, line.start));
    }
    root.open = src[..head].into();
    root.close = src[reader.pos..].into();
    root.raw = Some(src);
    Ok(Doc { root, positional: Vec::new() })
}

#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
    indent: usize,
}

struct Reader<'a> {
    src: &'a str,
    pos: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn line_at(&self, start: usize) -> Line {
        let rest = &self.src[start..];
        let end = start + rest.find('\n').map_or(rest.len(), |end| end + 1);
        Line { start, end, indent: rest.len() - rest.trim_start_matches(' ').len() }
    }

    fn content(&self, line: Line) -> &'a str {
        let text = &self.src[line.start..line.end];
        text[line.indent.min(text.len())..].trim_end()
    }

    /// Returns the first line from `at` on that is neither empty nor a comment.
    fn next_content(&self, mut at: usize) -> Result<Option<Line>, Fault> {
        while at < self.src.len() {
            let line = self.line_at(at);
            let content = self.content(line);
            if content.trim_start().is_empty() || content.starts_with('#') {
                at = line.end;
                continue;
            }
            if content.starts_with('\t') {
                return Err(unsupported("tabs in the indent"));
            }
            if line.indent == 0 && at > 0 && (content.starts_with("---") || content.starts_with("...")) {
                let rest = content[3..].bytes().next();
                if rest.is_none_or(|byte| byte == b' ') && self.src[..at].lines().any(|l| !is_blank_or_comment(l)) {
                    return Err(unsupported("a stream of documents"));
                }
            }
            if line.indent == 0 && content.starts_with('%') {
                return Err(unsupported("directives"));
            }
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Reads the members at column `indent`; the first may stand in the middle of a line.
    fn container(&mut self, indent: usize, is_list: bool, style: Style, depth: usize) -> Result<Node<'a>, Fault> {
        if depth > DEPTH_LIMIT {
            return Err(unsupported("more than 64 levels"));
        }
        let start = self.pos;
        let mut members: Vec<Member<'a>> = Vec::new();
        loop {
            let (lead, at) = if members.is_empty() && style == Style::Compact {
                ("", self.pos)
            } else {
                match self.next_content(self.pos)? {
                    Some(line) if line.indent == indent => {
                        if is_item(self.content(line)) != is_list {
                            if is_list {
                                break; // A list at its key's column ends where the next key begins.
                            }
                            return Err(broken("a list item among keys", self.src, line.start));
                        }
                        (&self.src[self.pos..line.start + indent], line.start + indent)
                    }
                    Some(line) if line.indent > indent => {
                        return Err(broken("unexpected indent", self.src, line.start));
                    }
                    _ => break,
                }
            };
            let member_start = self.pos;
            self.pos = at;
            self.nodes += 1;
            if self.nodes > NODE_LIMIT {
                return Err(unsupported("more than two million values"));
            }
            let (key, head_end) = if is_list { (String::new(), at + 1) } else { self.key(at)? };
            let line_end = self.line_at(at).end;
            let after = &self.src[head_end..line_end];
            let blanks = after.len() - after.trim_start_matches([' ', '\t']).len();
            let rest = after.trim();
            let (head, node, tail);
            if rest.is_empty() || rest.starts_with('#') && blanks > 0 {
                head = &self.src[at..head_end];
                (node, tail) = self.nested(head_end, line_end, indent, is_list, depth)?;
            } else {
                let value = head_end + blanks;
                head = &self.src[at..value];
                self.pos = value;
                let text = &self.src[value..line_end];
                let column = indent + (value - at);
                if is_list && (is_item(text.trim_end()) || key_end(text.trim_end())?.is_some()) {
                    if after[..blanks].contains('\t') {
                        return Err(unsupported("tabs in the indent"));
                    }
                    node = self.container(column, is_item(text.trim_end()), Style::Compact, depth + 1)?;
                    tail = "";
                } else {
                    (node, tail) = self.scalar(value, line_end, indent)?;
                }
            }
            members.push(Member {
                key,
                lead: lead.into(),
                head: head.into(),
                node,
                tail: tail.into(),
                post: "".into(),
                first: members.is_empty(),
                raw: Some(&self.src[member_start..self.pos]),
            });
        }
        let body = if is_list { Body::Seq(members) } else { Body::Map(members) };
        let mut node = Node {
            open: "".into(),
            close: "".into(),
            body,
            style,
            indent,
            trailing: false,
            digest: Digest::default(),
            raw: Some(&self.src[start..self.pos]),
        };
        check_duplicates(&node)?;
        node.digest = node.compute_digest();
        Ok(node)
    }

    fn key(&self, at: usize) -> Result<(String, usize), Fault> {
        let line = &self.src[at..self.line_at(at).end];
        match key_end(line.trim_end())? {
            Some(end) => {
                let raw = line[..end].trim_end();
                let key = raw
                    .strip_prefix('"')
                    .and_then(|inner| inner.strip_suffix('"'))
                    .or_else(|| raw.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\'')))
                    .unwrap_or(raw);
                if raw == "<<" {
                    return Err(unsupported("a merge key"));
                }
                if raw.contains('\\') || key.contains("''") {
                    return Err(unsupported("a key with escapes"));
                }
                Ok((key.to_owned(), at + end + 1))
            }
            None => Err(unsupported("a value over several lines")),
        }
    }

    /// Reads what follows a key or dash with nothing behind it: a container on the next lines, or nothing.
    fn nested(
        &mut self,
        head_end: usize,
        line_end: usize,
        indent: usize,
        in_list: bool,
        depth: usize,
    ) -> Result<(Node<'a>, &'a str), Fault> {
        let rest = &self.src[head_end..line_end];
        let next = self.next_content(line_end)?;
        let child = next
            .filter(|line| line.indent > indent || (!in_list && line.indent == indent && is_item(self.content(*line))));
        let Some(line) = child else {
            self.pos = line_end;
            return Ok((Node::scalar("", "null".to_owned(), Some("")), rest));
        };
        let content = self.content(line);
        let is_list = is_item(content);
        if !is_list && key_end(content)?.is_none() {
            return Err(unsupported("a value below its key"));
        }
        self.pos = line_end;
        let mut node = self.container(line.indent, is_list, Style::Block, depth + 1)?;
        node.open = rest.into();
        node.raw = Some(&self.src[head_end..self.pos]);
        Ok((node, ""))
    }

    fn scalar(&mut self, at: usize, line_end: usize, indent: usize) -> Result<(Node<'a>, &'a str), Fault> {
        let line = self.src[at..line_end].trim_end_matches(['\n', '\r']);
        let (length, canon) = match line.as_bytes()[0] {
            b'|' | b'>' => return self.block_scalar(at, line_end, indent),
            b'&' => return Err(unsupported("an anchor")),
            b'*' => return Err(unsupported("an alias")),
            b'!' => return Err(unsupported("a tag")),
            b'?' if line == "?" || line.starts_with("? ") => return Err(unsupported("a complex key")),
            b'-' if is_item(line) => return Err(broken("a list item as a value", self.src, at)),
            b'%' | b'@' | b'`' => return Err(broken("a value begins with a reserved character", self.src, at)),
            b'"' | b'\'' => {
                let end = quoted_end(line).ok_or_else(|| unsupported("a quoted value over several lines"))?;
                let inner = &line[1..end - 1];
                let canon = if line.starts_with('\'') {
                    format!("s:{}", inner.replace("''", "'"))
                } else if inner.contains('\\') {
                    format!("q:{inner}")
                } else {
                    format!("s:{inner}")
                };
                (end, canon)
            }
            b'[' | b'{' => {
                let end = flow_end(line)?;
                (end, format!("f:{}", line[..end].split_whitespace().collect::<Vec<_>>().join(" ")))
            }
            _ => {
                let end = line.find(" #").unwrap_or(line.len());
                let plain = line[..end].trim_end();
                if plain.contains(": ") || plain.ends_with(':') {
                    return Err(broken("a key inside a value", self.src, at));
                }
                (plain.len(), format!("p:{plain}"))
            }
        };
        let after = line[length..].trim_start();
        if !(after.is_empty() || after.starts_with('#') && line[length..].starts_with([' ', '\t'])) {
            return Err(broken("text after a value", self.src, at));
        }
        if let Some(next) = self.next_content(line_end)?
            && next.indent > indent
        {
            return Err(unsupported("a value over several lines"));
        }
        self.pos = line_end;
        let text = &self.src[at..at + length];
        Ok((Node::scalar(text, canon, Some(text)), &self.src[at + length..line_end]))
    }

    fn block_scalar(&mut self, at: usize, line_end: usize, indent: usize) -> Result<(Node<'a>, &'a str), Fault> {
        let header = self.src[at..line_end].trim_end();
        let marks = header.split_once(" #").map_or(header, |(marks, _)| marks).trim_end();
        if marks.len() > 2 || marks[1..].contains(|c: char| c.is_ascii_digit()) {
            return Err(unsupported("a block scalar with an indent of its own"));
        }
        if !matches!(&marks[1..], "" | "-" | "+") {
            return Err(broken("bad block scalar header", self.src, at));
        }
        let keeps_blank_end = marks.ends_with('+');
        let mut end = line_end; // after the last line that belongs to the scalar
        let mut inner: Option<usize> = None;
        let mut lines: Vec<&str> = Vec::new();
        let mut taken = 0;
        let mut next = line_end;
        while next < self.src.len() {
            let line = self.line_at(next);
            let text = &self.src[line.start..line.end];
            next = line.end;
            if text.trim().is_empty() {
                lines.push(text.trim_end_matches(['\n', '\r']));
                if keeps_blank_end {
                    (end, taken) = (line.end, lines.len());
                }
                continue;
            }
            if line.indent <= indent {
                break;
            }
            let column = *inner.get_or_insert(line.indent);
            if line.indent < column || text[line.indent..].starts_with('\t') {
                return Err(unsupported("a block scalar with uneven indent"));
            }
            lines.push(text.trim_end_matches(['\n', '\r']));
            (end, taken) = (line.end, lines.len());
        }
        lines.truncate(taken);
        let column = inner.unwrap_or(0);
        let body: Vec<&str> = lines.iter().map(|line| line.get(column..).unwrap_or("")).collect();
        let full = &self.src[at..end];
        let text = if taken == 0 { header } else { full.trim_end_matches('\n') };
        let text = if keeps_blank_end && taken > 0 { full.strip_suffix('\n').unwrap_or(full) } else { text };
        let canon = format!("{marks}\n{}", body.join("\n"));
        self.pos = if taken == 0 { line_end } else { end };
        Ok((Node::scalar(text, canon, Some(text)), &self.src[at + text.len()..self.pos]))
    }
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn is_item(content: &str) -> bool {
    content == "-" || content.starts_with("- ") || content.starts_with("-\t")
}

/// Returns where the key's colon is, if the text begins with a key.
fn key_end(content: &str) -> Result<Option<usize>, Fault> {
    match content.as_bytes().first() {
        None => return Ok(None),
        Some(b'"' | b'\'') => {
            let Some(end) = quoted_end(content) else { return Ok(None) };
            let rest = &content[end..];
            let blanks = rest.len() - rest.trim_start().len();
            let after = &rest[blanks..];
            let is_key = after == ":" || after.starts_with(": ") || after.starts_with(":\t");
            return Ok(is_key.then_some(end + blanks));
        }
        Some(b'?') if content == "?" || content.starts_with("? ") => return Err(unsupported("a complex key")),
        Some(b'&') => return Err(unsupported("an anchor")),
        Some(b'*') => return Err(unsupported("an alias")),
        Some(b'!') => return Err(unsupported("a tag")),
        Some(b'[' | b'{' | b'|' | b'>' | b'#') => return Ok(None),
        _ => {}
    }
    let bytes = content.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'#' if at > 0 && bytes[at - 1] == b' ' => return Ok(None),
            b':' if matches!(bytes.get(at + 1), None | Some(b' ' | b'\t')) => return Ok(Some(at)),
            _ => {}
        }
    }
    Ok(None)
}

/// Returns where a quoted text ends, its closing quote included.
fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let quote = *bytes.first()?;
    let mut at = 1;
    while at < bytes.len() {
        if quote == b'"' && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] == quote {
            if quote == b'\'' && bytes.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Some(at + 1);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// Returns where a flow collection on one line ends.
fn flow_end(line: &str) -> Result<usize, Fault> {
    let bytes = line.as_bytes();
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') if at == 0 || matches!(bytes[at - 1], b' ' | b',' | b'[' | b'{' | b':') => {
                let _ = quote;
                at += quoted_end(&line[at..]).ok_or_else(|| unsupported("a quoted value over several lines"))?;
                continue;
            }
            b'&' | b'*' | b'!' if matches!(bytes.get(at.wrapping_sub(1)), Some(b' ' | b',' | b'[' | b'{')) => {
                return Err(unsupported("an anchor, alias or tag in a flow collection"));
            }
            b'#' if matches!(bytes.get(at.wrapping_sub(1)), Some(b' ')) => {
                return Err(unsupported("a flow collection over several lines"));
            }
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            close @ (b']' | b'}') => {
                if open.pop() != Some(close) {
                    return Err(Fault::Broken("brackets that do not match".to_owned()));
                }
                if open.is_empty() {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(unsupported("a flow collection over several lines"))
}
