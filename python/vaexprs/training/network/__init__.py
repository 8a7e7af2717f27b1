"""The network: encoder, decoder, layers, starting weights, and the loop that trains them."""
