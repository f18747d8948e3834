"""Training a supernet with NNI's one-shot strategies on Lightning; nothing else in the project needs NNI."""

# First, for it keeps NNI quiet while NNI is imported for the first time.
from search.oneshot import compat as compat
