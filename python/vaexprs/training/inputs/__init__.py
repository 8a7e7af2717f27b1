"""Input of the network: minibatches, transformed values, principal-component scores."""
