"""Acting: thousands of different NPCs per frame from a bank of states, through onnxruntime."""
