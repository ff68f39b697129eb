//! x
wit_bindgen::generate!({ world: "policy", path: "../wit", generate_all });
