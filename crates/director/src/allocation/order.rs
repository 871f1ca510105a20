//! What a query orders: a server for its player.

use udp_director_core::{Inventory, Selector, Unclaimed};
use udp_director_inventory::kubernetes::{AllocationSpec, ServerSelector, Unsayable};

use crate::config::Allocate;

/// How the queries of a resource type allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocating {
    /// What the configuration says.
    pub allocate: Allocate,
    /// How many players a server is for.
    pub sharing: Sharing,
}

/// How many players an allocated server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One: each query allocates its own.
    Alone,
    /// So many.
    Fixed(u32),
    /// As many as each says.
    AsItSays,
}

/// A server that a query wants.
#[derive(Clone, Debug)]
pub struct Order {
    pub(super) resource_type: String,
    pub(super) namespace: String,
    pub(super) spec: AllocationSpec,
    pub(super) allocate: Allocate,
    /// How many players share the server.
    pub(super) places: u32,
    /// The same for all who want the same.
    pub(super) text: String,
}

impl Allocating {
    /// Whether a seat on a server that is allocated already will do.
    pub fn shares(&self) -> bool {
        self.sharing != Sharing::Alone
    }

    /// Says whether Agones can be asked for these labels.
    ///
    /// # Errors
    /// Names the label of which it cannot.
    pub fn check(&self, labels: &Selector) -> Result<(), Unsayable> {
        ServerSelector::default().require(labels)
    }

    /// The order of a query for servers of that type and namespace with these labels.
    ///
    /// # Errors
    /// Names the label of which Agones cannot be asked.
    pub fn order(
        &self,
        (resource_type, namespace): (&str, &str),
        labels: &Selector,
        inventory: &Inventory,
    ) -> Result<Order, Unsayable> {
        let spec = self.allocate.spec.with_labels(labels)?;
        let asked = serde_json::to_string(&spec).expect("its keys are texts");
        Ok(Order {
            resource_type: resource_type.to_owned(),
            namespace: namespace.to_owned(),
            spec,
            allocate: self.allocate.clone(),
            places: self.places((resource_type, namespace), inventory),
            text: format!("{resource_type}/{namespace}/{asked}"),
        })
    }

    /// How many queries may share one allocation. Where only servers say how many players they take,
    /// another of them tells; the next will be much the same. When it is not, who finds no room asks anew.
    fn places(&self, (resource_type, namespace): (&str, &str), inventory: &Inventory) -> u32 {
        match self.sharing {
            Sharing::Alone => 1,
            Sharing::Fixed(places) => places.max(1),
            Sharing::AsItSays => {
                let mut alike = inventory
                    .backends()
                    .iter()
                    .map(|backend| &backend.spec)
                    .filter(|spec| *spec.resource_type == *resource_type && spec.namespace == namespace);
                alike.find_map(|spec| Some(spec.capacity.seats()).filter(|&seats| seats > 0)).unwrap_or(1)
            }
        }
    }
}

impl Order {
    pub(super) fn unclaimed(&self) -> Unclaimed {
        self.allocate.unclaimed
    }
}
