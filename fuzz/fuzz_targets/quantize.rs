#![no_main]
//! A model file of any bytes is a network that can be quantized, or an error.

use fer_quantize::{FloatNetwork, nearest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(network) = FloatNetwork::parse(&bytes.to_vec().into(), "m") {
        let _ = network.with_outputs(&[&network.input(), &network.output()]);
        for layer in &network.layers {
            nearest(layer);
        }
    }
});
