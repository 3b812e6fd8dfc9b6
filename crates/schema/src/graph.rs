//! Owns the type graph and the handle that walks it. Types live in one vector and point at each
//! other by index, so recursive types (a JSON schema within a JSON schema) need no indirection.
//! It refuses to say where types come from: see `builtin` and `crd`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Kinds of scalar, as far as merging, defaulting and documentation need to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Text holding an RFC 3339 time.
    DateTime,
    /// Text holding base64.
    Bytes,
    /// An integer or a text, such as a port or a percentage.
    IntOrString,
    /// An integer.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// Any scalar at all.
    Untyped,
}

/// How the members of a map relate to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Each member is owned and merged on its own.
    Granular,
    /// The map is one value.
    Atomic,
}

/// How the items of a list relate to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// The list is one value.
    Atomic,
    /// Items are distinct values.
    Set,
    /// Items are maps told apart by these fields.
    Map(Vec<String>),
}

/// An edge of the graph: the type it leads to, and what the place where it is used changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub(crate) to: usize,
    pub(crate) relation: Option<Relation>,
}

/// How a strategic merge patch treats a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged instead of replaced.
    pub merge: bool,
    /// A map keeps only the keys which the patch names (in `$retainKeys`).
    pub retain_keys: bool,
    /// A map is replaced instead of merged.
    pub replace: bool,
    /// The field that tells the items of a merged list apart; none for lists of scalars.
    pub merge_key: Option<String>,
}

/// What stands in the place of a member that is left out. Built-in objects are kept in fixed
/// shapes, so some members are there before anybody writes them, and nobody comes to own them by
/// their coming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absent {
    /// Nothing: the member is not there.
    #[default]
    Nothing,
    /// An empty map.
    EmptyMap,
    /// Null.
    Null,
}

/// A named member of a map type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    /// The member's type.
    pub link: Link,
    /// The value which an absent member stands for, where the schema states one.
    pub default: Option<Value>,
    /// What stands in its place when it is left out.
    pub absent: Absent,
    /// What a strategic merge patch does here.
    pub patch: PatchStrategy,
}

/// The map side of a type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapType {
    /// Members known by name.
    pub fields: BTreeMap<String, Field>,
    /// The type of every other member; none when others are not expected.
    pub additional: Option<Link>,
    /// How members relate; none means granular.
    pub relation: Option<Relation>,
    /// Members which must be present.
    pub required: Vec<String>,
}

/// The list side of a type.
#[derive(Clone, Debug, PartialEq)]
pub struct ListType {
    /// How items relate.
    pub kind: ListKind,
    /// The type of each item.
    pub item: Link,
}

/// A type: what it may be as a scalar, a list and a map. Most types have exactly one side; an
/// untyped value has all three, and the value decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Type {
    /// The type's name in the published OpenAPI, when it has one.
    pub name: Option<String>,
    /// As a scalar.
    pub scalar: Option<Scalar>,
    /// As a list.
    pub list: Option<ListType>,
    /// As a map.
    pub map: Option<MapType>,
}

#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) types: Vec<Type>,
    pub(crate) names: BTreeMap<String, usize>,
}

impl Graph {
    pub(crate) fn push(&mut self, ty: Type) -> usize {
        self.types.push(ty);
        self.types.len() - 1
    }

    /// Adds the two untyped types and answers `(deduced, atomic)`: below a deduced value maps are
    /// granular and lists atomic; an atomic one is one value.
    pub(crate) fn push_untyped(&mut self) -> (usize, usize) {
        let atomic = self.types.len();
        let link = Link::to(atomic);
        self.push(Type {
            name: None,
            scalar: Some(Scalar::Untyped),
            list: Some(ListType {
                kind: ListKind::Atomic,
                item: link,
            }),
            map: Some(MapType {
                additional: Some(link),
                relation: Some(Relation::Atomic),
                ..MapType::default()
            }),
        });
        let deduced = self.types.len();
        self.push(Type {
            name: None,
            scalar: Some(Scalar::Untyped),
            list: Some(ListType {
                kind: ListKind::Atomic,
                item: link,
            }),
            map: Some(MapType {
                additional: Some(Link::to(deduced)),
                relation: Some(Relation::Granular),
                ..MapType::default()
            }),
        });
        (deduced, atomic)
    }
}

impl Link {
    pub(crate) fn to(to: usize) -> Self {
        Self { to, relation: None }
    }
}

/// A set of types known by name. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    pub(crate) graph: Arc<Graph>,
}

impl Schema {
    /// The types of the built-in kinds of Kubernetes 1.34.
    pub fn builtin() -> &'static Self {
        crate::builtin::schema()
    }

    /// The type of a built-in kind.
    pub fn type_of(&self, group: &str, version: &str, kind: &str) -> Option<TypeRef> {
        let info = crate::kinds::lookup(group, version, kind)?;
        self.named(&info.type_name)
    }

    /// The type with this name in the published OpenAPI, such as `io.k8s.api.core.v1.PodSpec`.
    pub fn named(&self, name: &str) -> Option<TypeRef> {
        let at = *self.graph.names.get(name)?;
        Some(TypeRef {
            graph: self.graph.clone(),
            link: Link::to(at),
        })
    }

    /// The names of all types, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.graph.names.keys().map(String::as_str)
    }

    /// The type of a custom resource from its version's `openAPIV3Schema`. `apiVersion`, `kind`
    /// and `metadata` are typed whatever the schema says of them, here and below every
    /// `x-kubernetes-embedded-resource`.
    pub fn from_crd_schema(schema: &Value) -> Result<TypeRef, crate::UnreadableSchema> {
        crate::crd::read(schema)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} types)", self.graph.types.len())
    }
}

/// A handle on one type of a graph. Cheap to clone; keeps the graph alive.
#[derive(Clone)]
pub struct TypeRef {
    pub(crate) graph: Arc<Graph>,
    pub(crate) link: Link,
}

static NOTHING: Type = Type {
    name: None,
    scalar: None,
    list: None,
    map: None,
};

impl TypeRef {
    /// A type that allows anything: maps granular, lists atomic.
    pub fn untyped() -> Self {
        let mut graph = Graph::default();
        let (deduced, _) = graph.push_untyped();
        Self {
            graph: Arc::new(graph),
            link: Link::to(deduced),
        }
    }

    /// The type itself.
    pub fn get(&self) -> &Type {
        self.graph.types.get(self.link.to).unwrap_or(&NOTHING)
    }

    /// The type at the other end of an edge of this type.
    #[must_use]
    pub fn follow(&self, link: Link) -> Self {
        Self {
            graph: self.graph.clone(),
            link,
        }
    }

    /// The type's name in the published OpenAPI, when it has one.
    pub fn name(&self) -> Option<&str> {
        self.get().name.as_deref()
    }

    /// What it is as a scalar.
    pub fn scalar(&self) -> Option<Scalar> {
        self.get().scalar
    }

    /// What it is as a map.
    pub fn map(&self) -> Option<&MapType> {
        self.get().map.as_ref()
    }

    /// What it is as a list.
    pub fn list(&self) -> Option<&ListType> {
        self.get().list.as_ref()
    }

    /// How a list of this type relates its items.
    pub fn list_kind(&self) -> Option<&ListKind> {
        self.list().map(|list| &list.kind)
    }

    /// Whether a map of this type is one value.
    pub fn is_atomic_map(&self) -> bool {
        let own = self.map().and_then(|map| map.relation);
        self.link.relation.or(own) == Some(Relation::Atomic)
    }

    /// The declared member of this name: its default and patch strategy.
    pub fn declared(&self, name: &str) -> Option<&Field> {
        self.map()?.fields.get(name)
    }

    /// The type of a member: the declared one, else that of additional members.
    pub fn field(&self, name: &str) -> Option<Self> {
        let map = self.map()?;
        let link = map
            .fields
            .get(name)
            .map(|field| field.link)
            .or(map.additional)?;
        Some(self.follow(link))
    }

    /// The type of the items of a list.
    pub fn item(&self) -> Option<Self> {
        Some(self.follow(self.list()?.item))
    }

    /// The value that an absent key field of this list's items stands for.
    pub fn key_default(&self, key: &str) -> Option<Value> {
        self.item()?.declared(key)?.default.clone()
    }

    /// Whether nothing is known of this type.
    pub fn is_untyped(&self) -> bool {
        let ty = self.get();
        ty.scalar == Some(Scalar::Untyped) && ty.map.is_some()
    }
}

impl fmt::Debug for TypeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TypeRef({}#{})",
            self.name().unwrap_or("anonymous"),
            self.link.to
        )
    }
}
