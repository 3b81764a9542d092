"""From embeddings and words to scores."""

from vlm_dense.models.classifiers.embedding_classifier import EmbeddingClassifier
from vlm_dense.models.classifiers.linear_classifier import LinearClassifier
from vlm_dense.models.classifiers.score_fusion import ScoreFusion, calibrate

__all__ = ['EmbeddingClassifier', 'LinearClassifier', 'ScoreFusion', 'calibrate']
