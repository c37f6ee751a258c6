//! Blocks of code in the pages of `docs/`, cut out for the tests that do what the page says.

use std::fs;

/// A fenced block, with what stands on the line before it.
#[derive(Debug)]
struct Block {
    language: String,
    before: String,
    text: String,
}

/// The one block of a page in this language that contains this text.
pub(crate) fn block(page: &str, language: &str, containing: &str) -> String {
    let mut blocks = blocks(page);
    blocks.retain(|block| block.language == language && block.text.contains(containing));
    match blocks.as_slice() {
        [block] => block.text.clone(),
        _ => panic!("not one block of {language} with {containing} in {page}: {blocks:?}"),
    }
}

/// The block of configuration below the mark `<!-- test: NAME -->`.
pub(crate) fn marked(page: &str, name: &str) -> String {
    let mut blocks = blocks(page);
    blocks.retain(|block| block.mark() == Some(name));
    match blocks.as_slice() {
        [block] if block.language == "toml" => block.text.clone(),
        _ => panic!("not one block with the mark {name} in {page}: {blocks:?}"),
    }
}

/// The marks of a page, in its order.
pub(crate) fn marks(page: &str) -> Vec<String> {
    let blocks = blocks(page);
    blocks
        .iter()
        .filter_map(|block| block.mark().map(String::from))
        .collect()
}

impl Block {
    fn mark(&self) -> Option<&str> {
        self.before
            .strip_prefix("<!-- test: ")?
            .strip_suffix(" -->")
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    language: language.into(),
                    before: before.into(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => before = line,
        }
    }
    assert!(open.is_none(), "a block of {page} does not end");
    blocks
}
