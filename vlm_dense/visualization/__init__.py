"""Drawing what was found: boxes, masks and the caller's words on pictures, and sheets of pictures."""

from vlm_dense.visualization.drawing import color_of, draw_detections, draw_label_map
from vlm_dense.visualization.sheet import Panel, contact_sheet

__all__ = ['Panel', 'color_of', 'contact_sheet', 'draw_detections', 'draw_label_map']
