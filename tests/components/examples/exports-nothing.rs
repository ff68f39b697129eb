//! A component without any hook.

wit_bindgen::generate!({
    inline: "
        package nobody:asks;
        world w { export answer: func() -> u32; }
    ",
});

struct Component;

impl Guest for Component {
    fn answer() -> u32 {
        42
    }
}

export!(Component);
