"""The recipe's `alignment` section."""

from pydantic import Field

from llm_assets.config import Section


class PairsConfig(Section):
    """Preference pairs bootstrapped from the fine-tuned model's own samples."""

    train_prompts: dict[str, int] = Field(
        {"route": 320, "summarise": 120}, description="task -> documents of the train split that are prompted"
    )
    validation_prompts: dict[str, int] = Field(
        {"route": 250, "summarise": 60}, description="task -> documents of the validation split, held out"
    )
    samples: int = Field(4, ge=1, le=16, description="answers sampled for each prompt")
    temperature: float = Field(1.0, gt=0, description="higher gives more, and worse, different answers")
    max_new_tokens: int = Field(32, ge=1, description="longest answer in tokens; of a label, the longest label")


class RewardConfig(Section):
    """Training of the reward model (TRL RewardTrainer)."""

    epochs: int = Field(2, ge=1, description="passes over the training pairs")
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-3, gt=0, description="peak; warmed up over a tenth of the steps, then to 0")


class DpoConfig(Section):
    """Training of the aligned model (TRL DPOTrainer)."""

    epochs: int = Field(2, ge=1, description="passes over the training pairs")
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(
        3e-4, gt=0, description="peak; a model of a million parameters hardly moves at the rates that large ones take"
    )
    beta: float = Field(0.1, gt=0, description="how much leaving the reference costs")
    answer_loss_weight: float = Field(
        0.2, ge=0, description="weight of the chosen answers' loss beside DPO's; keeps their likelihood up"
    )
    tolerance: float = Field(
        0.005, ge=0, le=1, description="held-out accuracy that may be lost; beyond it the step is halved, then again"
    )


class AlignmentGates(Section):
    min_pair_accuracy: float = Field(0.6, ge=0, le=1, description="reward model on held-out pairs")
    max_length_bias: float = Field(
        0.9,
        ge=0,
        le=1,
        description="|correlation| of reward and answer length above which a warning is raised",
    )
    max_kl: float = Field(0.5, gt=0, description="nats a token between aligned and reference model")
    max_accuracy_drop: float = Field(0.02, ge=0, le=1, description="aligned against fine-tuned, on validation")
    min_win_rate: float = Field(0.45, ge=0, le=1, description="aligned against fine-tuned, judged by the reward model")


class AlignmentConfig(Section):
    pairs: PairsConfig = PairsConfig()
    reward: RewardConfig = RewardConfig()
    dpo: DpoConfig = DpoConfig()
    gates: AlignmentGates = AlignmentGates()
