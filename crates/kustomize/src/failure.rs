//! Owns the ways a build can fail, each with file, line and field. All are terminal: the same files
//! fail the same way until someone changes them.

use std::fmt;

use weir_yaml::YamlError;

use crate::files::FileError;

/// A place in the files of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// Path below the root.
    pub file: Box<str>,
    /// Line from one; zero where there is none to tell.
    pub line: usize,
    /// Field, empty where the whole file is meant.
    pub field: Box<str>,
}

impl Spot {
    /// The file as a whole.
    pub fn file(file: impl Into<String>) -> Self {
        Self {
            file: file.into().into_boxed_str(),
            line: 0,
            field: Box::default(),
        }
    }

    /// A field in the file.
    pub fn new(file: impl Into<String>, line: usize, field: impl Into<String>) -> Self {
        Self {
            file: file.into().into_boxed_str(),
            line,
            field: field.into().into_boxed_str(),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if self.line > 0 {
            write!(f, " line {}", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, ", field `{}`", self.field)?;
        }
        Ok(())
    }
}

/// Why a kustomization cannot be built. Terminal until the files change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The directory asked for is not there. Terminal.
    #[error("directory `{0}` does not exist; correct the path")]
    NoDirectory(String),
    /// A directory without a kustomization file. Terminal.
    #[error(
        "directory `{0}` has none of kustomization.yaml, kustomization.yml and Kustomization; add one"
    )]
    NoKustomization(String),
    /// A directory with several kustomization files. Terminal.
    #[error("directory `{dir}` has several kustomization files ({names}); keep one")]
    SeveralKustomizations {
        /// The directory.
        dir: String,
        /// The files found.
        names: String,
    },
    /// A text is not YAML. Terminal.
    #[error("`{file}` {what}")]
    Yaml {
        /// The file.
        file: String,
        /// What is wrong, with the line.
        what: YamlError,
    },
    /// A field has a value that it cannot have. Terminal.
    #[error("{spot}: {what}")]
    Field {
        /// Where.
        spot: Spot,
        /// What is wrong and what to do.
        what: String,
    },
    /// A field that kustomize knows and this build can't do yet. Terminal.
    #[error("{0}: this field is not built here yet; nothing was built, so remove the field")]
    NotBuilt(Spot),
    /// A field that kustomize does not know. Terminal.
    #[error("{0}: there is no such field in a kustomization; correct or remove it")]
    UnknownField(Spot),
    /// An entry of `resources` that is not there. Terminal.
    #[error("{spot}: `{path}` is neither a file nor a directory; add it or remove the entry")]
    MissingResource {
        /// Where it is named.
        spot: Spot,
        /// What is named.
        path: String,
    },
    /// A file cannot be read. Terminal.
    #[error("{spot}: {what}")]
    File {
        /// Where it is named.
        spot: Spot,
        /// Why.
        what: FileError,
    },
    /// A document is not an object. Terminal.
    #[error("{spot}: {what}")]
    NotAnObject {
        /// Where it is.
        spot: Spot,
        /// What is missing.
        what: String,
    },
    /// Two objects have one identity. Terminal.
    #[error("{spot}: {object} is there already, from `{first}`; remove one of the two")]
    Duplicate {
        /// Where the second is named.
        spot: Spot,
        /// The object.
        object: String,
        /// The file of the first.
        first: String,
    },
    /// Bases that contain each other. Terminal.
    #[error("{spot}: `{path}` contains the kustomization that names it; remove the entry")]
    Cycle {
        /// Where.
        spot: Spot,
        /// The directory.
        path: String,
    },
    /// A field cannot be changed in an object. Terminal.
    #[error("{spot}: {object} cannot be changed at `{path}`: {what}")]
    Transform {
        /// Which field of which kustomization asks for the change.
        spot: Spot,
        /// The object.
        object: String,
        /// Path in the object.
        path: String,
        /// Why.
        what: String,
    },
    /// A reference that could mean several objects. Terminal.
    #[error("{object} refers to `{name}`, which could be {candidates}; make the names differ")]
    Ambiguous {
        /// The referring object.
        object: String,
        /// The name in it.
        name: String,
        /// What it could be.
        candidates: String,
    },
    /// A bound was passed. Terminal.
    #[error("{spot}: the build goes beyond the limit of {limit} {what}; split it")]
    TooMuch {
        /// Where.
        spot: Spot,
        /// The limit.
        limit: usize,
        /// What is counted.
        what: &'static str,
    },
}
