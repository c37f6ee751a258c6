//! The files of the project, for tests that read it.

use std::fs;
use std::path::PathBuf;

/// The path and the text of every file of the project with this ending.
pub(crate) fn files(ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("the project can be read")
            .flatten()
        {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().expect("the project can be read");
            let is_made = name.to_str().is_some_and(|name| {
                matches!(name, "target" | "node_modules" | "artifacts" | "corpus")
                    || (name.starts_with('.') && name != ".ci" && name != ".cargo")
            });
            if is_made {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if path.extension().unwrap_or_default() == ending {
                // Images and other bytes have nothing to say here.
                if let Ok(text) = fs::read_to_string(&path) {
                    found.push((path.display().to_string(), text));
                }
            }
        }
    }
    // No ending but these may be absent from a project of this kind.
    assert!(
        !found.is_empty() || matches!(ending, "sh" | "html"),
        "no files *.{ending}"
    );
    found
}
