"""What a teacher thinks of all words, taught to a student.

Shapes: N regions, K words.

RegionCLIP (arXiv:2112.09106), Sec. 3: ``L_dist = 1/N sum_i KL(q_i^t || q_i)`` with q^t and q the softmax of the
teacher's and of the student's similarities to all concepts of the pool, both divided by a temperature.
"""

from torch import Tensor, nn
from torch.nn.functional import kl_div

from vlm_dense.errors import ConfigError
from vlm_dense.models.losses.precision import widened
from vlm_dense.registry import MODELS


@MODELS.register_module()
class DistillationKL(nn.Module):
    """Mean over regions of the divergence of the student's probabilities from the teacher's, in float32.

    Args:
        student_temperature: Divides the student's similarities; 1 where they are logits already.
        teacher_temperature: Divides the teacher's.
        loss_weight: Factor on the loss.

    Raises:
        ConfigError: If a temperature is not above 0.
    """

    def __init__(
        self, student_temperature: float = 1.0, teacher_temperature: float = 1.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if min(student_temperature, teacher_temperature) <= 0:
            raise ConfigError(
                f'DistillationKL: student_temperature={student_temperature}, teacher_temperature='
                f'{teacher_temperature}; temperatures divide: give numbers above 0.'
            )
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.loss_weight = loss_weight

    def forward(
        self,
        student_NK: Tensor,
        teacher_NK: Tensor,
        weight_N: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss; no gradient reaches the teacher.

        Args:
            student_NK: Similarities or logits of the student; N may be 0.
            teacher_NK: Of the teacher.
            weight_N: Of every region; None is 1.
            avg_factor: What the sum is divided by; None divides by N.
        """
        student_NK = (widened(student_NK) / self.student_temperature).log_softmax(dim=1)
        teacher_NK = (teacher_NK.detach().to(student_NK) / self.teacher_temperature).log_softmax(dim=1)
        divergence_N = kl_div(student_NK, teacher_NK, reduction='none', log_target=True).sum(dim=1)
        if weight_N is not None:
            divergence_N = weight_N * divergence_N
        return self.loss_weight * divergence_N.sum() / (max(len(divergence_N), 1) if avg_factor is None else avg_factor)
