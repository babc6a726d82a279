"""Training beyond Keras: trainers, speed, memory and distribution."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "graphs.graph_crossentropy": ["GraphCrossentropyTrainer"],
        "graphs.graph_softmax": ["GraphSoftmaxTrainer"],
        "autoencoders.trainer": ["AutoencoderTrainer"],
        "least_squares": ["AlternatingLeastSquares"],
        "memory": ["keep_freed_memory"],
        "next_item": ["NextItemTrainer"],
        "sampled_softmax": ["SampledSoftmaxTrainer"],
        "stepwise": ["StepwiseTrainer"],
        "trainer": ["Trainer"],
    },
)
