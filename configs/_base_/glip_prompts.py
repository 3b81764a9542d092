# GLIP's prompts of names in training: all that a picture shows and others, up to 85 in half of the prompts and a drawn
# number in the rest, shuffled, as far as 256 tokens of BERT hold. Captions pass as they are.
ask_some = dict(
    type='vlm_dense.DetectionAsGrounding',
    max_negatives=85,
    full=0.5,
    crowded='sample',
    tokenizer='bert-base-uncased',
    max_tokens=256,
)
