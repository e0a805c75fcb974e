"""The plain PyTorch script to compare with, run in a fresh process: random labels, batch norm, patience.

It is kept as taught, with its bug: `best_state` holds references, so what it restores is the last epoch.
"""

import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(20, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def main() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(1000, 20), torch.randint(0, 2, (1000,))
    x_train, y_train, x_val, y_val = x[:800], y[:800], x[800:], y[800:]
    model, criterion = Classifier(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    best_loss, best_state, wait, patience = float("inf"), None, 0, 5
    for epoch in range(50):
        model.train()
        optimizer.zero_grad()
        criterion(model(x_train), y_train).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(x_val), y_val).item()
        if val_loss < best_loss:
            best_loss, best_state, wait = val_loss, model.state_dict(), 0
        else:
            wait += 1
            if wait >= patience:
                break
    model.load_state_dict(best_state)
    print(f"Training stopped after {epoch + 1} epochs.")
    print(f"Best validation loss: {best_loss:.4f}")


if __name__ == "__main__":
    main()
