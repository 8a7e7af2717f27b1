"""What the network reads: minibatches, transformed values, principal-component scores."""
